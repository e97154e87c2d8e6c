/* Attention within segments of variable length, forward and backward. */
#include "oracle/cases.h"

enum { O, LSE, Q, K, V };
enum { DQ, DK, DV, DO, BO, BLSE, BQ, BK, BV }; /* of the backward */

/* Lengths of segments, ended by -1; of the keys too where they have their own (NOT_OWN: as the queries), and which of these each
 * looks at. per_key query heads share the keys of one. loud: scores of about 100, exp alone would overflow. The variant picks one of
 * the short ones; the third size, when not 0, one of the long ones, which pass the border of a tile of query rows. */
enum { SEGMENTS = 8, NOT_OWN = -2 };
typedef struct {
    int q[SEGMENTS], k[SEGMENTS], k_of[SEGMENTS], per_key, causal, loud;
} layout;

static const layout SHORT[] = {
    {{3, 5, -1}, {NOT_OWN}, {0}, 1, 0, 0},
    {{1, -1}, {NOT_OWN}, {0}, 1, 0, 0},
    {{-1}, {NOT_OWN}, {0}, 1, 0, 0},
    {{0, 4, 0, 1, 7, -1}, {NOT_OWN}, {0}, 1, 0, 0},
    {{17, -1}, {NOT_OWN}, {0}, 1, 0, 0},
    {{2, 2, 2, 1, -1}, {NOT_OWN}, {0}, 1, 0, 0},
    {{3, 5, -1}, {NOT_OWN}, {0}, 1, 0, 1},
    {{6, 1, 5, -1}, {NOT_OWN}, {0}, 1, 1, 0},
    {{4, 6, -1}, {NOT_OWN}, {0}, 3, 1, 0},
    {{1, 2, 0, -1}, {9, 5, 3, -1}, {0, 1, 2}, 2, 1, 0},
    {{3, 0, 4, -1}, {5, 2, 7, -1}, {0, 1, 2}, 1, 0, 0},
    {{2, 3, 1, 4, -1}, {6, 3, 5, -1}, {0, 0, 1, 2}, 2, 0, 0},
};
static const layout LONG[] = {
    {{300, -1}, {NOT_OWN}, {0}, 1, 0, 0},         {{129, 1, 0, 128, 130, -1}, {NOT_OWN}, {0}, 1, 0, 0},
    {{50, 200, -1}, {NOT_OWN}, {0}, 1, 0, 0},     {{460, 3, -1}, {NOT_OWN}, {0}, 1, 1, 0},
    {{250, 130, -1}, {260, -1}, {0, 0}, 2, 0, 0}, {{230, 7, -1}, {500, 100, -1}, {0, 1}, 2, 1, 0},
};
enum { VARIANTS = sizeof SHORT / sizeof *SHORT, TABLE = 3 * SEGMENTS };

static const layout *layout_of(const vvt_call *c)
{
    return c->dim.n[2] ? &LONG[c->dim.n[2] - 1] : &SHORT[c->how.variant];
}

/* prefix sums of the lengths; returns their number */
static int64_t prefix(int32_t *cu, const int *length)
{
    int64_t S = 0;
    for (cu[0] = 0; length[S] >= 0; S++) cu[S + 1] = cu[S] + length[S];
    return S;
}

/* The table holds cu_q, cu_k and k_of. */
static vvo_attention segments(const vvt_call *c)
{
    const layout *l = layout_of(c);
    int32_t *cu_q = c->table, *cu_k = cu_q + SEGMENTS, *k_of = cu_k + SEGMENTS;
    const int own = l->k[0] != NOT_OWN;
    const int64_t S = prefix(cu_q, l->q), Sk = prefix(cu_k, own ? l->k : l->q), D = c->dim.n[1];
    for (int64_t s = 0; s < S; s++) k_of[s] = own ? l->k_of[s] : (int32_t)s;
    return (vvo_attention){cu_q,        cu_k, k_of,
                           S,           Sk,   c->dim.n[0] * l->per_key,
                           c->dim.n[0], D,    (l->loud ? 30 : 1) / sqrt((double)vv_max(D, 1)),
                           l->causal};
}

static vvb_attention_args args(const vvt_call *c)
{
    const vvo_attention a = segments(c);
    const int own = layout_of(c)->k[0] != NOT_OWN;
    return (vvb_attention_args){a.cu_q,  own ? a.cu_k : NULL, own ? a.k_of : NULL, a.S, a.Sk, a.H, a.Hkv, a.D, a.scale,
                                a.causal};
}

/* The contract lets a NaN of a key reach queries that must not see it: nothing to judge there. */
static void shape(vvt_call *c)
{
    vvt_table(c, TABLE);
    if (layout_of(c)->causal) c->how.spoil = 0;
}

static void fwd_shape(vvt_call *c)
{
    shape(c);
    const vvo_attention a = segments(c);
    const int64_t Nq = a.cu_q[a.S], Nk = a.cu_k[a.Sk], C = a.H * a.D, Ck = a.Hkv * a.D;
    const double k = (double)(vvo_attention_most_keys(&a) + a.D);
    vvt_strided(c, vvt_output(c, "o", VVT_OUT, Nq, C, k), C);
    vvt_output(c, "lse", VVT_OUT, Nq, a.H, k)->zeros_expected = a.D == 0; /* log n */
    vvt_strided(c, vvt_input(c, "q", Nq, C), C);
    vvt_strided(c, vvt_input(c, "k", Nk, Ck), Ck);
    vvt_strided(c, vvt_input(c, "v", Nk, Ck), Ck);
}

static void fwd_run(vvt_call *c)
{
    const vvb_attention_args a = args(c);
    vvb_attention_fwd(vvt_at(c, O), vvt_ld(c, O), vvt_at(c, LSE), vvt_at(c, Q), vvt_ld(c, Q), vvt_at(c, K),
                      vvt_ld(c, K), vvt_at(c, V), vvt_ld(c, V), &a);
}

static void fwd_oracle(vvt_call *c)
{
    const vvo_attention a = segments(c);
    vvo_attention_fwd(vvt_want(c, O), vvt_ld(c, O), vvt_want(c, LSE), vvt_host(c, Q), vvt_ld(c, Q), vvt_host(c, K),
                      vvt_ld(c, K), vvt_host(c, V), vvt_ld(c, V), &a);
}

static void bwd_shape(vvt_call *c)
{
    static const char *const name[] = {"dq", "dk", "dv", "dO", "o", "lse", "q", "k", "v"};
    shape(c);
    c->how.acc = 0; /* there is no adding */
    const vvo_attention a = segments(c);
    const int64_t Nq = a.cu_q[a.S], Nk = a.cu_k[a.Sk], C = a.H * a.D, Ck = a.Hkv * a.D;
    const int64_t keys = vvo_attention_most_keys(&a), queries = vvo_attention_most_queries(&a);
    for (int i = DQ; i <= DV; i++) {
        const double k = (double)(i == DQ ? 2 * keys + 2 * a.D : i == DK ? 2 * queries + 2 * a.D : queries + a.D);
        vvt_array *x =
            vvt_strided(c, vvt_output(c, name[i], VVT_GRAD, i == DQ ? Nq : Nk, i == DQ ? C : Ck, k), i == DQ ? C : Ck);
        /* with nothing to choose from, no score matters; keys that nobody looks at have no gradient */
        x->zeros_expected = (keys <= 1 && i != DV) || (i != DQ && layout_of(c)->k[0] != NOT_OWN);
    }
    for (int i = DO; i <= BV; i++) {
        const int key = i == BK || i == BV;
        if (i == BLSE) vvt_input(c, name[i], Nq, a.H);
        else vvt_strided(c, vvt_input(c, name[i], key ? Nk : Nq, key ? Ck : C), key ? Ck : C);
    }
    for (int i = 0; i < 3; i++) c->a[BQ + i].ld = c->a[DQ + i].ld; /* they share a stride */
    c->a[BO].ld = c->a[DO].ld;
}

/* o and lse as the forward would have saved them: the oracle's, rounded */
static void bwd_prepare(vvt_call *c)
{
    const vvo_attention a = segments(c);
    const int64_t N = a.cu_q[a.S], n = N * vvt_ld(c, BO), m = N * a.H;
    vvt_ref *room = vv_calloc(2 * n + 2 * m, sizeof *room);
    ck_assert_ptr_nonnull(room);
    const vvo_out o = {room, room + n}, lse = {room + 2 * n, room + 2 * n + m};
    vvo_attention_fwd(o, vvt_ld(c, BO), lse, vvt_host(c, BQ), vvt_ld(c, BQ), vvt_host(c, BK), vvt_ld(c, BK),
                      vvt_host(c, BV), vvt_ld(c, BV), &a);
    for (int64_t i = 0; i < N; i++)
        for (int64_t d = 0; d < a.H * a.D; d++)
            c->a[BO].host[i * vvt_ld(c, BO) + d] = (vv_real)o.v[i * vvt_ld(c, BO) + d];
    for (int64_t i = 0; i < m; i++) c->a[BLSE].host[i] = (vv_real)lse.v[i];
    free(room);
}

static void bwd_run(vvt_call *c)
{
    const vvb_attention_args a = args(c);
    vvb_attention_bwd(vvt_at(c, DQ), vvt_at(c, DK), vvt_at(c, DV), vvt_at(c, DO), vvt_at(c, BO), vvt_ld(c, BO),
                      vvt_at(c, BLSE), vvt_at(c, BQ), vvt_ld(c, BQ), vvt_at(c, BK), vvt_ld(c, BK), vvt_at(c, BV),
                      vvt_ld(c, BV), &a);
}

static void bwd_oracle(vvt_call *c)
{
    const vvo_attention a = segments(c);
    vvo_attention_bwd(vvt_want(c, DQ), vvt_want(c, DK), vvt_want(c, DV), vvt_host(c, DO), vvt_host(c, BO),
                      vvt_ld(c, BO), vvt_host(c, BLSE), vvt_host(c, BQ), vvt_ld(c, BQ), vvt_host(c, BK), vvt_ld(c, BK),
                      vvt_host(c, BV), vvt_ld(c, BV), &a);
}

#define SIZES                                                                                                          \
    .sizes = 2, .medium = {{3, 5}}, .variants = VARIANTS, .strided = 1,                                                \
    .large = {{{1, 5, 3}}, {{2, 9, 1}}, {{1, 80, 4}}, {{2, 1, 2}}, {{2, 3, 5}}, {{1, 6, 6}}}
static const vvt_op OPS[] = {
    {"attention_fwd", .shape = fwd_shape, .run = fwd_run, .oracle = fwd_oracle, SIZES},
    {"attention_bwd", .shape = bwd_shape, .prepare = bwd_prepare, .any_nonfinite = 1, .run = bwd_run,
     .oracle = bwd_oracle, SIZES},
};

static Suite *suite(void) { return vvt_op_suite("backend/attention", OPS, 2); }

VVT_MAIN(suite)
