/* From logits to tokens: each rule by hand, all of them against naive loops, draws against their probabilities, whole texts against
 * a loop without a cache. */
#include "model/decoder.h"
#include "model/generate.h"

static vv_status next(double *p, const vv_real *z, int64_t V, const vv_generate_options *o, vv_error *err)
{
    return vv_next_probabilities(p, z, V, NULL, 0, o, err);
}

/* ---- options -------------------------------------------------------------------------------------------------------------------- */
START_TEST(wrong_options)
{
    const vv_generate_options d = vv_generate_default();
    const struct {
        const char *name;
        vv_generate_options o;
    } bad[] = {
        {"temperature", {-1, 0, 1, 1, 0, 0, 1, 0, NULL, 0, NULL, 0}},
        {"temperature", {NAN, 0, 1, 1, 0, 0, 1, 0, NULL, 0, NULL, 0}},
        {"temperature", {INFINITY, 0, 1, 1, 0, 0, 1, 0, NULL, 0, NULL, 0}},
        {"top_k", {1, -1, 1, 1, 0, 0, 1, 0, NULL, 0, NULL, 0}},
        {"top_p", {1, 0, 0, 1, 0, 0, 1, 0, NULL, 0, NULL, 0}},
        {"top_p", {1, 0, 1.001, 1, 0, 0, 1, 0, NULL, 0, NULL, 0}},
        {"top_p", {1, 0, NAN, 1, 0, 0, 1, 0, NULL, 0, NULL, 0}},
        {"repetition_penalty", {1, 0, 1, 0, 0, 0, 1, 0, NULL, 0, NULL, 0}},
        {"repetition_penalty", {1, 0, 1, -2, 0, 0, 1, 0, NULL, 0, NULL, 0}},
        {"repetition_penalty", {1, 0, 1, NAN, 0, 0, 1, 0, NULL, 0, NULL, 0}},
        {"max_new_tokens", {1, 0, 1, 1, 0, 0, 0, 0, NULL, 0, NULL, 0}},
        {"vocab_used", {1, 0, 1, 1, 0, 0, 1, -1, NULL, 0, NULL, 0}},
        {"vocab_used", {1, 0, 1, 1, 0, 0, 1, 5, NULL, 0, NULL, 0}}, /* more than the table */
    };
    const vv_real z[4] = {0};
    double p[4];
    VVT_OK(vv_generate_check(&d, err));
    ck_assert(d.temperature == 0 && d.top_k == 0 && d.top_p == 1 && d.repetition_penalty == 1 &&
              d.max_new_tokens == 128);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vv_error err = {0};
        vvt_expect_error(&err, next(p, z, 4, &bad[i].o, &err), VV_USAGE, bad[i].name, "expected", "got", (char *)NULL);
    }
}
END_TEST

START_TEST(not_finite)
{
    static const double wrong[] = {NAN, INFINITY};
    vv_generate_options o = vv_generate_default();
    double p[4];
    for (int sampled = 0; sampled < 2; sampled++)
        for (int k = 0; k < 8; k++) {
            vv_real z[4] = {1, 2, 3, 4};
            z[k % 4] = (vv_real)wrong[k / 4];
            o.temperature = sampled;
            o.vocab_used = k % 4 == 3 ? 3 : 0; /* beyond what is used too: the model is broken */
            vv_error err = {0};
            char word[16];
            snprintf(word, sizeof word, "id %d", k % 4);
            vvt_expect_error(&err, next(p, z, 4, &o, &err), VV_NONFINITE, "logit", word, (char *)NULL);
        }
    const vv_real none[4] = {(vv_real)-INFINITY, (vv_real)-INFINITY, (vv_real)-INFINITY, 0};
    o.vocab_used = 3;
    vv_error err = {0};
    vvt_expect_error(&err, next(p, none, 4, &o, &err), VV_NONFINITE, "none of 3", (char *)NULL);
}
END_TEST

/* ---- each rule by hand ------------------------------------------------------------------------------------------------------------ */
static void expect(const vv_real *z, int64_t V, const vv_generate_options *o, const double *want)
{
    double p[16];
    VVT_OK(next(p, z, V, o, err));
    for (int64_t i = 0; i < V; i++) {
        ck_assert_msg((p[i] == 0) == (want[i] == 0), "id %d: %g, expected %g", (int)i, p[i], want[i]);
        ck_assert_msg(fabs(p[i] - want[i]) <= 1e-14, "id %d: %.17g, expected %.17g", (int)i, p[i], want[i]);
    }
}

START_TEST(greedy)
{
    vv_generate_options o = vv_generate_default();
    expect((const vv_real[]){-3, 7, 2, 7, 7}, 5, &o, (const double[]){0, 1, 0, 0, 0});
    expect((const vv_real[]){0, 0, 0}, 3, &o, (const double[]){1, 0, 0});
    expect((const vv_real[]){(vv_real)-INFINITY, -9, -8}, 3, &o, (const double[]){0, 0, 1});
    o.top_k = 1, o.top_p = 0.1; /* without effect */
    expect((const vv_real[]){1, 3, 3}, 3, &o, (const double[]){0, 1, 0});
    o.vocab_used = 3;
    expect((const vv_real[]){1, 2, 2, 9}, 4, &o, (const double[]){0, 1, 0, 0});
    expect((const vv_real[]){(vv_real)-INFINITY, (vv_real)-INFINITY, -5, 9}, 4, &o, (const double[]){0, 0, 1, 0});
}
END_TEST

/* logits log 1, log 2, log 4, log 8 of a binary table, so that probabilities are simple fractions */
START_TEST(sampled)
{
    const vv_real b = (vv_real)log(2), z[6] = {0, b, 3 * b, b, 2 * b, b}; /* weights 1 2 8 2 4 2 */
    vv_generate_options o = vv_generate_default();
    const double tol = VV_U * 8;
    double p[6];
    o.temperature = 1;
    VVT_OK(next(p, z, 6, &o, err));
    for (int i = 0; i < 6; i++) ck_assert_double_le(fabs(p[i] - (const double[]){1, 2, 8, 2, 4, 2}[i] / 19), tol);
    o.temperature = 0.5; /* weights squared */
    VVT_OK(next(p, z, 6, &o, err));
    for (int i = 0; i < 6; i++) ck_assert_double_le(fabs(p[i] - (const double[]){1, 4, 64, 4, 16, 4}[i] / 93), tol);
    o.vocab_used = 3;
    o.temperature = 1;
    VVT_OK(next(p, z, 6, &o, err));
    for (int i = 0; i < 6; i++) ck_assert_double_le(fabs(p[i] - (const double[]){1, 2, 8, 0, 0, 0}[i] / 11), tol);
    ck_assert(p[3] == 0 && p[4] == 0 && p[5] == 0);
    o.temperature = 1e-310; /* no overflow, the largest alone */
    o.vocab_used = 0;
    expect(z, 6, &o, (const double[]){0, 0, 1, 0, 0, 0});
}
END_TEST

START_TEST(top_k_keeps_ties)
{
    const vv_real z[6] = {1, 2, 3, 2, 5, 2};
    vv_generate_options o = vv_generate_default();
    static const int kept[][6] = {{1, 1, 1, 1, 1, 1}, {0, 0, 0, 0, 1, 0}, {0, 0, 1, 0, 1, 0}, {0, 1, 1, 1, 1, 1},
                                  {0, 1, 1, 1, 1, 1}, {0, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1}};
    o.temperature = 1;
    for (o.top_k = 0; o.top_k < 8; o.top_k++) {
        double p[6], sum = 0;
        VVT_OK(next(p, z, 6, &o, err));
        for (int i = 0; i < 6; i++) {
            ck_assert_int_eq(p[i] > 0, kept[o.top_k][i]);
            if (p[i] > 0) ck_assert_double_le(fabs(p[i] / p[4] - exp((double)z[i] - 5)), 1e-15);
            sum += p[i];
        }
        ck_assert_double_le(fabs(sum - 1), 1e-15);
    }
}
END_TEST

/* Probabilities that are exact: four equal ones, of which the lowest ids come first. */
START_TEST(top_p_keeps_the_fewest)
{
    const vv_real z[4] = {2, 2, 2, 2};
    static const struct {
        double top_p;
        int kept;
    } rule[] = {{1e-9, 1}, {0.25, 1}, {0.2500001, 2}, {0.5, 2}, {0.75, 3}, {0.75000001, 4}, {0.999999, 4}, {1, 4}};
    vv_generate_options o = vv_generate_default();
    o.temperature = 1;
    for (size_t k = 0; k < sizeof rule / sizeof *rule; k++) {
        double want[4] = {0};
        for (int i = 0; i < rule[k].kept; i++) want[i] = 1.0 / rule[k].kept;
        o.top_p = rule[k].top_p;
        expect(z, 4, &o, want);
    }
    /* of what top_k left: 0.6, 0.4 become the whole */
    o.top_k = 2;
    o.top_p = 0.55;
    expect((const vv_real[]){(vv_real)log(0.2), (vv_real)log(0.5), (vv_real)log(0.3)}, 3, &o,
           (const double[]){0, 1, 0});
    o.top_k = 0; /* 0.5 is not enough */
    double p[3];
    VVT_OK(next(p, (const vv_real[]){(vv_real)log(0.2), (vv_real)log(0.5), (vv_real)log(0.3)}, 3, &o, err));
    ck_assert(p[0] == 0 && p[1] > 0.6 && p[2] > 0.3);
}
END_TEST

START_TEST(penalty)
{
    static const int32_t seen[] = {1, 3, 1, 1, 4}, spared[] = {4, 99, -1}, outside[] = {0, 6}, negative[] = {-1};
    const vv_real z[6] = {1, 2, 3, -2, 4, -3};
    static const double want[6] = {1, 1, 3, -4, 4, -3}; /* 1 and 3 once; 4 is spared */
    vv_generate_options o = vv_generate_default();
    double p[6], q[6], sum = 0;
    o.temperature = 1;
    o.repetition_penalty = 2;
    o.no_penalty = spared;
    o.n_no_penalty = 3;
    VVT_OK(vv_next_probabilities(p, z, 6, seen, 5, &o, err));
    for (int i = 0; i < 6; i++) sum += q[i] = exp(want[i]);
    for (int i = 0; i < 6; i++) ck_assert_double_le(fabs(p[i] - q[i] / sum), 1e-15);
    o.temperature = 0;
    o.n_no_penalty = 0; /* 4 falls to 2: 2 wins */
    VVT_OK(vv_next_probabilities(p, z, 6, seen, 5, &o, err));
    ck_assert(p[2] == 1);
    vv_error err = {0};
    vvt_expect_error(&err, vv_next_probabilities(p, z, 6, outside, 2, &o, &err), VV_USAGE, "token 1", "0 to 5", "6",
                     (char *)NULL);
    err = (vv_error){0};
    vvt_expect_error(&err, vv_next_probabilities(p, z, 6, negative, 1, &o, &err), VV_USAGE, "token 0", "0 to 5", "-1",
                     (char *)NULL);
}
END_TEST

/* ---- against naive loops -------------------------------------------------------------------------------------------------------------- */
/* How many ids come before i when the largest score comes first and of equal ones the lowest id. */
static int rank_of(const double *z, int V, int i)
{
    int before = 0;
    for (int j = 0; j < V; j++) before += z[j] > z[i] || (j < i && z[j] == z[i]);
    return before;
}

static void naive(double *p, const vv_real *logits, int V, const vv_generate_options *o)
{
    double z[64], sum = 0, q[64];
    int keep[64];
    for (int i = 0; i < V; i++) z[i] = (double)logits[i] / o->temperature;
    for (int i = 0; i < V; i++) {
        int larger = 0;
        for (int j = 0; j < V; j++) larger += z[j] > z[i];
        keep[i] = !o->top_k || larger < o->top_k; /* fewer than k are larger: not below the k-th largest */
    }
    for (int i = 0; i < V; i++) sum += q[i] = keep[i] ? exp(z[i]) : 0;
    for (int i = 0; i < V && o->top_p < 1; i++) {
        double before = 0;
        for (int j = 0; j < V; j++) before += rank_of(z, V, j) < rank_of(z, V, i) ? q[j] : 0;
        if (before / sum >= o->top_p) keep[i] = 0; /* enough without it */
    }
    sum = 0;
    for (int i = 0; i < V; i++) sum += p[i] = keep[i] ? q[i] : 0;
    for (int i = 0; i < V; i++) p[i] /= sum;
}

START_TEST(all_rules_against_loops)
{
    static const int64_t k[] = {0, 1, 2, 7, 40, 64, 1000};
    static const double top_p[] = {1, 0.999, 0.9, 0.5, 0.01}, temperature[] = {1, 0.3, 2.5};
    vv_generate_options o = vv_generate_default();
    for (int run = 0; run < 3 * 5 * 7; run++) {
        char stream[16];
        snprintf(stream, sizeof stream, "logits%d", run);
        vv_real *z = tower_numbers(stream, 0, 3, 64);
        for (int i = 0; i < 64; i += 3) z[i] = (vv_real)rint((double)z[i]); /* ties */
        double got[64], want[64], sum = 0;
        o.temperature = temperature[run % 3], o.top_p = top_p[run / 3 % 5], o.top_k = k[run / 15];
        VVT_OK(next(got, z, 64, &o, err));
        naive(want, z, 64, &o);
        for (int i = 0; i < 64; i++) {
            ck_assert_msg((got[i] == 0) == (want[i] == 0) && fabs(got[i] - want[i]) <= 1e-14, "run %d, id %d: %g, %g",
                          run, i, got[i], want[i]);
            sum += got[i];
        }
        ck_assert_double_le(fabs(sum - 1), 1e-14);
        free(z);
    }
}
END_TEST

/* ---- draws ------------------------------------------------------------------------------------------------------------------------------ */
/* chi^2 = sum (count - n p)^2 / (n p) of k + 1 outcomes. Laurent, Massart 2000, lemma 1: P(chi^2_k >= k + 2 sqrt(k x) + 2x) <= exp(-x);
 * x = 14 is one in a million, and n p > 100 makes it nearly a chi^2. */
START_TEST(draws_follow_the_probabilities)
{
    enum { V = 16, N = 40000, K = 12 }; /* K + 1 ids have a probability */
    double p[V], sum = 0, chi2 = 0;
    int count[V] = {0};
    for (int i = 0; i < V; i++) sum += p[i] = i % 5 == 2 ? 0 : exp(-0.3 * (i * 7 % 16));
    for (int i = 0; i < V; i++) p[i] /= sum;
    for (int i = 0; i < N; i++) count[vv_draw_token(p, V, 11 + (uint64_t)_i, i)]++;
    for (int i = 0; i < V; i++) {
        if (p[i] == 0) ck_assert_int_eq(count[i], 0);
        else {
            ck_assert_double_gt(N * p[i], 100);
            chi2 += (count[i] - N * p[i]) * (count[i] - N * p[i]) / (N * p[i]);
        }
    }
    ck_assert_msg(chi2 <= K + 2 * sqrt(K * 14.0) + 28, "chi^2 %.1f", chi2);
    ck_assert_msg(chi2 >= 1, "chi^2 %.3f: too good to be drawn", chi2); /* P(chi^2_12 < 1) = 1.4e-5 */
}
END_TEST

START_TEST(draws_repeat)
{
    const double p[4] = {0.1, 0.2, 0.3, 0.4}, one[4] = {0, 0, 1, 0}, short_of_one[4] = {0.25, 0.25, 0, 0};
    int other_seed = 0, other_place = 0, beyond = 0;
    for (int i = 0; i < 200; i++) {
        ck_assert_int_eq(vv_draw_token(p, 4, 1, i), vv_draw_token(p, 4, 1, i));
        ck_assert_int_eq(vv_draw_token(one, 4, 1, i), 2);
        other_seed += vv_draw_token(p, 4, 1, i) != vv_draw_token(p, 4, 2, i);
        other_place += vv_draw_token(p, 4, 1, i) != vv_draw_token(p, 4, 1, i + 1);
        const int32_t id =
            vv_draw_token(short_of_one, 4, 1, i); /* a sum below 1 falls on the last id that has a probability */
        ck_assert(id == 0 || id == 1);
        beyond += id == 1;
    }
    ck_assert(other_seed > 100 && other_place > 100 && beyond > 100); /* 140 and 150 expected */
}
END_TEST

/* ---- whole texts -------------------------------------------------------------------------------------------------------------------------- */
typedef struct {
    vv_params ps;
    vv_qwen3 *m;
    int32_t *ids;
} setup;
enum { PROMPT = 6, MOST = 20 };

static void start(setup *s)
{
    const vv_qwen3_config c = decoder_config(1);
    *s = (setup){.ids = decoder_ids(8, 40, PROMPT)};
    s->m = decoder_new(&s->ps, &c);
}

static void finish(setup *s)
{
    free(s->ids);
    vv_qwen3_free(s->m);
    vv_params_free(&s->ps);
}

/* The same without cache and prefill: the whole sequence anew for each token, until `most` tokens. */
static void naive_text(const setup *s, const vv_generate_options *o, int32_t *out, int64_t most)
{
    int32_t all[PROMPT + MOST];
    vv_tape *t = vv_tape_new(NULL, 0);
    memcpy(all, s->ids, PROMPT * sizeof *all);
    for (int32_t k = 0; k < most; k++) {
        const int32_t n = PROMPT + k, cu[2] = {0, n}, first = o->penalty_on_output_only ? PROMPT : 0;
        double p[40];
        vv_tensor *z = vv_qwen3_logits(t, s->m, vv_qwen3_forward(t, s->m, vv_qwen3_embed(t, s->m, all, n), cu, 1));
        VVT_OK(vv_tape_status(t, err));
        vv_real *logits = tower_get(z->data, z->n);
        VVT_OK(vv_next_probabilities(p, logits + (n - 1) * 40, 40, all + first, n - first, o, err));
        all[n] = out[k] = vv_draw_token(p, 40, o->seed, n);
        free(logits);
        vv_tape_reset(t);
    }
    vv_tape_free(t);
}

typedef struct {
    int32_t got[MOST];
    int64_t n, stop_after; /* 0: never */
} told;

static int tell(void *ctx, int32_t id)
{
    told *w = ctx;
    w->got[w->n++] = id;
    return w->n == w->stop_after;
}

static vv_status text(const setup *s, const vv_generate_options *o, told *w, int32_t *out, int64_t *n, int *stopped,
                      vv_error *err)
{
    vv_tape *t = vv_tape_new(NULL, 0);
    const vv_status st = vv_generate(t, s->m, vv_qwen3_embed(t, s->m, s->ids, PROMPT), s->ids, PROMPT, o,
                                     w ? tell : NULL, w, out, n, stopped, err);
    vv_tape_free(t);
    return st;
}

START_TEST(text_equals_loop)
{
    static const vv_generate_options kind[] = {{0, 0, 1, 1, 0, 0, MOST, 0, NULL, 0, NULL, 0},
                                               {0, 0, 1, 1.5, 0, 0, MOST, 0, NULL, 0, NULL, 0},
                                               {0, 0, 1, 1.5, 1, 0, MOST, 0, NULL, 0, NULL, 0},
                                               {1, 0, 1, 1, 0, 3, MOST, 0, NULL, 0, NULL, 0},
                                               {0.8, 9, 0.9, 1.2, 1, 4, MOST, 33, NULL, 0, NULL, 0}};
    const int64_t bytes = vvb_get_info()->bytes;
    setup s;
    start(&s);
    for (size_t k = 0; k < sizeof kind / sizeof *kind; k++) {
        int32_t want[MOST], out[MOST], again[MOST];
        int64_t n = -1;
        int stopped = -1;
        told w = {.n = 0};
        naive_text(&s, &kind[k], want, MOST);
        VVT_OK(text(&s, &kind[k], &w, out, &n, &stopped, err));
        ck_assert(n == MOST && stopped == 0 && w.n == MOST);
        ck_assert_mem_eq(out, want, sizeof want);
        ck_assert_mem_eq(w.got, want, sizeof want);
        VVT_OK(text(&s, &kind[k], NULL, again, &n, &stopped, err)); /* seeds repeat */
        ck_assert_mem_eq(again, want, sizeof want);
        for (int i = 0; i < MOST && kind[k].vocab_used; i++) ck_assert_int_lt(out[i], kind[k].vocab_used);
    }
    finish(&s);
    ck_assert_int_eq(vvb_get_info()->bytes, bytes);
}
END_TEST

/* The text ends before the first token that is one of the model's eos or of the option's stop list. */
START_TEST(ends_of_text)
{
    vv_generate_options o = vv_generate_default();
    int32_t want[MOST], out[MOST];
    int64_t n;
    int stopped;
    setup s;
    start(&s);
    o.max_new_tokens = MOST;
    o.repetition_penalty = 2; /* no repetition too early */
    naive_text(&s, &o, want, MOST);
    int first = 3; /* a token that did not come before */
    for (int i = 0; i < first; i++)
        if (want[i] == want[first]) first++, i = -1;
    for (int where = 0; where < 2; where++) {
        const int32_t stop[2] = {want[first] == 39 ? 38 : 39, want[first]}; /* the first entry is another id */
        told w = {.n = 0};
        s.m->config.n_eos = where == 0 ? 2 : 0;
        memcpy(s.m->config.eos, stop, sizeof stop);
        o.stop = stop;
        o.n_stop = where == 1 ? 2 : 0;
        int end = first;
        for (int i = first; i >= 0; i--)
            if (want[i] == stop[0]) end = i;
        VVT_OK(text(&s, &o, &w, out, &n, &stopped, err));
        ck_assert(n == end && stopped == 1 && w.n == end);
        ck_assert_mem_eq(out, want, (size_t)end * sizeof *out);
    }
    s.m->config.n_eos = 0;
    o.n_stop = 0;
    told w = {.n = 0, .stop_after = 2}; /* the caller has enough */
    VVT_OK(text(&s, &o, &w, out, &n, &stopped, err));
    ck_assert(n == 2 && stopped == 0 && w.n == 2);
    o.max_new_tokens = 1;
    VVT_OK(text(&s, &o, NULL, out, &n, &stopped, err));
    ck_assert(n == 1 && stopped == 0 && out[0] == want[0]);
    o.max_new_tokens = MOST; /* positions 0 to 9 are known: the tokens after 0 ... 9 come, the last is not read */
    s.m->config.max_position_embeddings = 10;
    VVT_OK(text(&s, &o, NULL, out, &n, &stopped, err));
    ck_assert(n == 10 - PROMPT + 1 && stopped == 0);
    finish(&s);
}
END_TEST

START_TEST(wrong_texts)
{
    vv_generate_options o = vv_generate_default();
    int32_t out[MOST];
    int64_t n = 7;
    int stopped = 7;
    setup s;
    start(&s);
    vv_error err = {0};
    o.top_p = 2;
    vvt_expect_error(&err, text(&s, &o, NULL, out, &n, &stopped, &err), VV_USAGE, "top_p", (char *)NULL);
    ck_assert(n == 0 && stopped == 0);
    o = vv_generate_default();
    o.max_new_tokens = MOST;
    vv_tape *t = vv_tape_new(NULL, 0), *dry = vv_tape_new(NULL, VV_DRY);
    err = (vv_error){0};
    vvt_expect_error(
        &err,
        vv_generate(t, s.m, vv_qwen3_embed(t, s.m, s.ids, 3), s.ids, PROMPT, &o, NULL, NULL, out, &n, &stopped, &err),
        VV_USAGE, "3 rows", "6 ids", (char *)NULL);
    err = (vv_error){0};
    vvt_expect_error(&err,
                     vv_generate(dry, s.m, vv_qwen3_embed(dry, s.m, s.ids, PROMPT), s.ids, PROMPT, &o, NULL, NULL, out,
                                 &n, &stopped, &err),
                     VV_USAGE, "dry", (char *)NULL);
    vv_tape_free(dry);
    vv_tape_free(t);
    s.m->config.max_position_embeddings = PROMPT - 1;
    err = (vv_error){0};
    vvt_expect_error(&err, text(&s, &o, NULL, out, &n, &stopped, &err), VV_USAGE, "at most 5 tokens", (char *)NULL);
    s.m->config.max_position_embeddings = 64;
    vv_real *w = tower_get(s.m->norm->data, s.m->norm->n);
    w[3] = (vv_real)NAN;
    vvb_upload(s.m->norm->data, w, s.m->norm->n * (int64_t)sizeof *w);
    err = (vv_error){0};
    vvt_expect_error(&err, text(&s, &o, NULL, out, &n, &stopped, &err), VV_NONFINITE, "logit of id 0", "nan",
                     (char *)NULL);
    ck_assert(n == 0 && stopped == 0);
    free(w);
    finish(&s);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("generate", &tc);
    tcase_add_test(tc, wrong_options);
    tcase_add_test(tc, not_finite);
    tcase_add_test(tc, greedy);
    tcase_add_test(tc, sampled);
    tcase_add_test(tc, top_k_keeps_ties);
    tcase_add_test(tc, top_p_keeps_the_fewest);
    tcase_add_test(tc, penalty);
    tcase_add_test(tc, all_rules_against_loops);
    tcase_add_loop_test(tc, draws_follow_the_probabilities, 0, 3);
    tcase_add_test(tc, draws_repeat);
    tcase_add_test(tc, text_equals_loop);
    tcase_add_test(tc, ends_of_text);
    tcase_add_test(tc, wrong_texts);
    return s;
}
VVT_MAIN(suite)
