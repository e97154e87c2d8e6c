/* Attention within segments of variable length, forward and backward. */
#include "oracle/cases.h"

enum { O, LSE, Q, K, V };
enum { DQ, DK, DV, DO, BO, BLSE, BQ, BK, BV }; /* of the backward */

/* Segment lengths, ended by -1. The variant picks one of the short ones; the third size, when not 0, one of the long ones,
 * which pass the border of a tile of 128 query rows. The last variant has scores of about 100: exp alone would overflow. */
enum { SHORT = 6, LONG = 3, SEGMENTS = 8 };
static const int SEGMENT[SHORT + LONG][SEGMENTS] = {
    {3, 5, -1},   {1, -1}, {-1}, {0, 4, 0, 1, 7, -1}, {17, -1}, {2, 2, 2, 1, -1}, {300, -1}, {129, 1, 0, 128, 130, -1},
    {50, 200, -1}};
enum { LOUD = SHORT, VARIANTS };

typedef struct {
    int64_t S, N, longest, H, D;
} layout;

static const int *lengths(const vvt_call *c)
{
    return SEGMENT[c->dim.n[2] ? SHORT + c->dim.n[2] - 1 : c->how.variant % SHORT];
}

static layout layout_of(const vvt_call *c)
{
    layout l = {0, 0, 0, c->dim.n[0], c->dim.n[1]};
    for (const int *n = lengths(c); *n >= 0; n++) {
        l.S++;
        l.N += *n;
        l.longest = vv_max(l.longest, *n);
    }
    return l;
}

static double scale(const vvt_call *c)
{
    return (c->how.variant == LOUD ? 30 : 1) / sqrt((double)vv_max(c->dim.n[1], 1));
}

static layout segments(vvt_call *c)
{
    const layout l = layout_of(c);
    int32_t *cu = vvt_table(c, l.S + 1);
    for (int64_t s = 0; s < l.S; s++) cu[s + 1] = cu[s] + lengths(c)[s];
    return l;
}

static void fwd_shape(vvt_call *c)
{
    const layout l = segments(c);
    const int64_t C = l.H * l.D;
    vvt_strided(c, vvt_output(c, "o", VVT_OUT, l.N, C, (double)(l.longest + l.D)), C);
    vvt_output(c, "lse", VVT_OUT, l.N, l.H, (double)(l.longest + l.D))->zeros_expected = l.D == 0; /* log n */
    for (int i = Q; i <= V; i++) vvt_strided(c, vvt_input(c, i == Q ? "q" : i == K ? "k" : "v", l.N, C), C);
}

static void fwd_run(vvt_call *c)
{
    const layout l = layout_of(c);
    vvb_attention_fwd(vvt_at(c, O), vvt_ld(c, O), vvt_at(c, LSE), vvt_at(c, Q), vvt_ld(c, Q), vvt_at(c, K),
                      vvt_ld(c, K), vvt_at(c, V), vvt_ld(c, V), c->table, l.S, l.H, l.D, scale(c));
}

static void fwd_oracle(vvt_call *c)
{
    const layout l = layout_of(c);
    vvo_attention_fwd(vvt_want(c, O), vvt_ld(c, O), vvt_want(c, LSE), vvt_host(c, Q), vvt_ld(c, Q), vvt_host(c, K),
                      vvt_ld(c, K), vvt_host(c, V), vvt_ld(c, V), c->table, l.S, l.H, l.D, scale(c));
}

static void bwd_shape(vvt_call *c)
{
    const layout l = segments(c);
    const int64_t C = l.H * l.D;
    c->how.acc = 0; /* there is no adding */
    static const char *const name[] = {"dq", "dk", "dv", "dO", "o", "lse", "q", "k", "v"};
    for (int i = DQ; i <= DV; i++) {
        const double k = (double)(i == DV ? l.longest + l.D : 2 * l.longest + 2 * l.D);
        /* with nothing to choose from, no score matters */
        vvt_strided(c, vvt_output(c, name[i], VVT_GRAD, l.N, C, k), C)->zeros_expected = l.longest <= 1 && i != DV;
    }
    for (int i = DO; i <= BV; i++)
        if (i == BLSE) vvt_input(c, name[i], l.N, l.H);
        else vvt_strided(c, vvt_input(c, name[i], l.N, C), C);
    for (int i = 0; i < 3; i++) c->a[BQ + i].ld = c->a[DQ + i].ld; /* they share a stride */
    c->a[BO].ld = c->a[DO].ld;
}

/* o and lse as the forward would have saved them: the oracle's, rounded */
static void bwd_prepare(vvt_call *c)
{
    const layout l = layout_of(c);
    const int64_t n = l.N * vvt_ld(c, BO), m = l.N * l.H;
    vvt_ref *room = vv_calloc(2 * n + 2 * m, sizeof *room);
    ck_assert_ptr_nonnull(room);
    const vvo_out o = {room, room + n}, lse = {room + 2 * n, room + 2 * n + m};
    vvo_attention_fwd(o, vvt_ld(c, BO), lse, vvt_host(c, BQ), vvt_ld(c, BQ), vvt_host(c, BK), vvt_ld(c, BK),
                      vvt_host(c, BV), vvt_ld(c, BV), c->table, l.S, l.H, l.D, scale(c));
    for (int64_t i = 0; i < l.N; i++)
        for (int64_t d = 0; d < l.H * l.D; d++)
            c->a[BO].host[i * vvt_ld(c, BO) + d] = (vv_real)o.v[i * vvt_ld(c, BO) + d];
    for (int64_t i = 0; i < m; i++) c->a[BLSE].host[i] = (vv_real)lse.v[i];
    free(room);
}

static void bwd_run(vvt_call *c)
{
    const layout l = layout_of(c);
    vvb_attention_bwd(vvt_at(c, DQ), vvt_at(c, DK), vvt_at(c, DV), vvt_at(c, DO), vvt_at(c, BO), vvt_ld(c, BO),
                      vvt_at(c, BLSE), vvt_at(c, BQ), vvt_ld(c, BQ), vvt_at(c, BK), vvt_ld(c, BK), vvt_at(c, BV),
                      vvt_ld(c, BV), c->table, l.S, l.H, l.D, scale(c));
}

static void bwd_oracle(vvt_call *c)
{
    const layout l = layout_of(c);
    vvo_attention_bwd(vvt_want(c, DQ), vvt_want(c, DK), vvt_want(c, DV), vvt_host(c, DO), vvt_host(c, BO),
                      vvt_ld(c, BO), vvt_host(c, BLSE), vvt_host(c, BQ), vvt_ld(c, BQ), vvt_host(c, BK), vvt_ld(c, BK),
                      vvt_host(c, BV), vvt_ld(c, BV), c->table, l.S, l.H, l.D, scale(c));
}

#define SIZES                                                                                                          \
    .sizes = 2, .medium = {{3, 5}}, .variants = VARIANTS, .strided = 1,                                                \
    .large = {{{1, 5, 3}}, {{2, 9, 1}}, {{1, 80, 3}}, {{2, 1, 2}}}
static const vvt_op OPS[] = {
    {"attention_fwd", .shape = fwd_shape, .run = fwd_run, .oracle = fwd_oracle, SIZES},
    {"attention_bwd", .shape = bwd_shape, .prepare = bwd_prepare, .any_nonfinite = 1, .run = bwd_run,
     .oracle = bwd_oracle, SIZES},
};

static Suite *suite(void) { return vvt_op_suite("backend/attention", OPS, 2); }

VVT_MAIN(suite)
