/* The matrix product, in all transpositions, with alpha and beta. */
#include "oracle/cases.h"

enum { C, A, B };

/* sizes M, N, K; a variant is ta, tb, and one of these (exact in binary, so that integers stay exact) */
static const double FACTORS[][2] = {{1, 0}, {1, 1}, {-0.5, 0}, {0.75, -1.5}}; /* alpha, beta */
static int ta(const vvt_call *c) { return c->how.variant & 1; }
static int tb(const vvt_call *c) { return c->how.variant >> 1 & 1; }
static double alpha(const vvt_call *c) { return FACTORS[c->how.variant >> 2][0]; }
static double beta(const vvt_call *c) { return FACTORS[c->how.variant >> 2][1]; }

static void shape(vvt_call *c)
{
    const int64_t M = c->dim.n[0], N = c->dim.n[1], K = c->dim.n[2];
    const int with_c = beta(c) != 0; /* otherwise c must not be read */
    vvt_strided(c, vvt_output(c, "c", with_c ? VVT_ADDED : VVT_OUT, M, N, (double)K), N)->zeros_expected =
        K == 0 && !with_c;
    vvt_strided(c, vvt_input(c, "a", ta(c) ? K : M, ta(c) ? M : K), ta(c) ? M : K);
    vvt_strided(c, vvt_input(c, "b", tb(c) ? N : K, tb(c) ? K : N), tb(c) ? K : N);
}

static void run(vvt_call *c)
{
    vvb_matmul(vvt_at(c, C), vvt_ld(c, C), vvt_at(c, A), vvt_ld(c, A), ta(c), vvt_at(c, B), vvt_ld(c, B), tb(c),
               c->dim.n[0], c->dim.n[1], c->dim.n[2], alpha(c), beta(c));
}

static void judge(vvt_call *c)
{
    vvo_matmul(vvt_want(c, C), vvt_ld(c, C), vvt_host(c, A), vvt_ld(c, A), ta(c), vvt_host(c, B), vvt_ld(c, B), tb(c),
               c->dim.n[0], c->dim.n[1], c->dim.n[2], alpha(c), beta(c));
}

static const vvt_op OPS[] = {
    {"matmul", .sizes = 3, .medium = {{11, 19, 7}}, .variants = 16, .exact = 16, .strided = 1, .must = 1,
     .shape = shape, .run = run, .oracle = judge,
     .large = {{{130, 257, 33}}, {{257, 130, 40}}, {{810, 650, 3}}, {{65, 64, 300}}, {{3, 700, 257}}, {{5, 7, 4099}}}},
};

static Suite *suite(void) { return vvt_op_suite("backend/gemm", OPS, 1); }

VVT_MAIN(suite)
