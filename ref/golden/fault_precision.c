/* Which arithmetic a candidate behaves like.
 *
 * A tensor speaks for float when its error lies between a sixteenth of its floor and four floors, for float64 below 2^-10 of it, for tf32, bf16
 * or fp16 between half of the band's lower end and twice its upper one. What nine tenths of the tensors speak for is what the
 * whole behaves like. tf32 and fp16 round to the same 11 bits: then it cannot be told. When a fault is there, the tensors before it
 * are asked. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "golden/fault.h"

enum { AS_DOUBLE = VV_PRECISIONS, ARITHMETICS, LEAST_TENSORS = 3 };
static const char *const names[ARITHMETICS] = {"float32", "TF32", "BF16", "FP16", "float64"};

static int speaks_for(const vv_golden_entry *by, const vv_judgement *x, int local, int p)
{
    const double error = x->m.rel_rms, floor = by->band[local][VV_AS_FLOAT].hi;
    const vv_band *b = &by->band[local][p == AS_DOUBLE ? 0 : p];
    if (p == AS_DOUBLE) return error < 0x1p-10 * floor;
    if (p == VV_AS_FLOAT) return error >= floor / 16 && error <= 4 * floor;
    return b->hi > 0 && error >= b->lo / 2 && error <= 2 * b->hi;
}

/* Rounding to fewer bits must show in the tensor: some, pixels for instance, are the same in all. */
static int tells(const vv_band *band)
{
    const double floor = band[VV_AS_FLOAT].hi;
    int known = 0, apart = 0;
    for (int p = VV_AS_TF32; p < VV_PRECISIONS; p++) {
        known |= band[p].hi > 0;
        apart |= band[p].lo > 8 * floor;
    }
    return floor > 0 && (apart || !known);
}

/* votes among the judgements before `end`; how many could vote */
static int64_t ask(const vv_judged *j, const vv_judgement *end, int64_t votes[ARITHMETICS])
{
    int64_t n = 0;
    memset(votes, 0, ARITHMETICS * sizeof *votes);
    for (const vv_judgement *x = j->at; x < end; x++) {
        const vv_golden_entry *by = j->floors.n ? vv_golden_find(&j->floors, x->entry->key) : x->entry;
        if (!x->measured || x->entry->class != VV_CHAIN || x->entry->n < 8 || !x->m.finite_g || !by) continue;
        if (!tells(by->band[j->local])) continue;
        n++;
        for (int p = 0; p < ARITHMETICS; p++) votes[p] += speaks_for(by, x, j->local, p);
    }
    return n;
}

static int winners(const int64_t votes[ARITHMETICS], int64_t n, char *text, size_t size)
{
    int won = 0;
    size_t used = 0;
    text[0] = 0;
    for (int p = 0; p < ARITHMETICS && used < size; p++)
        if (10 * votes[p] >= 9 * n)
            used += (size_t)snprintf(text + used, size - used, "%s%s", won++ ? " and " : "", names[p]);
    return won;
}

void vv_fault_precision(char text[VV_FAULT_TEXT], const vv_judged *j)
{
    int64_t votes[ARITHMETICS];
    char list[VV_FAULT_TEXT / 2];
    int64_t n = ask(j, j->at + j->n, votes);
    const char *where = "";
    int won = n >= LEAST_TENSORS ? winners(votes, n, list, sizeof list) : 0;
    text[0] = 0;
    if (won == 0 && j->first) {
        n = ask(j, j->first, votes);
        where = "before the fault it ";
        won = n >= LEAST_TENSORS ? winners(votes, n, list, sizeof list) : 0;
    }
    if (n < LEAST_TENSORS) return;
    if (won == 1) snprintf(text, VV_FAULT_TEXT, "%sbehaves like %s", where, list);
    else if (won > 1) snprintf(text, VV_FAULT_TEXT, "%sbehaves like %s: they cannot be told apart here", where, list);
    else
        snprintf(text, VV_FAULT_TEXT,
                 "behaves like no single precision (of %lld tensors%s: %lld like float32, %lld like TF32, %lld like "
                 "BF16, %lld like FP16)",
                 (long long)n, j->first ? " before the fault" : "", (long long)votes[0], (long long)votes[1],
                 (long long)votes[2], (long long)votes[3]);
}
