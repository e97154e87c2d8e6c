/* A matrix product whose order of summation is chosen: VARIANT="product=ORDER,alpha=first,beta=last,fma=1".
 *
 *   forward              one after the other
 *   backward             from the last to the first
 *   shuffled:SEED        in the order of a permutation of 0 ... K-1
 *   blocks:N             N at a time, the sums of blocks one after the other (cache blocking)
 *   parts:N              N equal parts, their sums one after the other (split-K)
 *   lanes:N              N running sums side by side, then a tree over them (vectors)
 *   pairs                halves, recursively
 *   double               in double, rounded once
 * alpha=first multiplies a before the sum instead of the sum; beta=last adds what is there to the finished sum. */
#include <math.h>
#include <stdlib.h>

#include "../variant.h"
#include "cblas.h"

typedef enum { FORWARD, BACKWARD, SHUFFLED, BLOCKS, PARTS, LANES, PAIRS, DOUBLE } order;
enum { MOST_LANES = 128 };

typedef struct {
    order how;
    int n, fma, alpha_first, beta_last, known;
} choice;

static choice chosen(void)
{
    static choice c;
    static const struct {
        const char *word;
        order how;
    } words[] = {{"forward", FORWARD}, {"backward", BACKWARD}, {"shuffled", SHUFFLED}, {"blocks", BLOCKS},
                 {"parts", PARTS},     {"lanes", LANES},       {"pairs", PAIRS},       {"double", DOUBLE}};
    if (c.known) return c;
    c.n = 8;
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        if (vvt_variant_is("product", words[i].word, &c.n)) c.how = words[i].how;
    c.fma = vvt_variant_is("fma", "1", NULL);
    c.alpha_first = vvt_variant_is("alpha", "first", NULL);
    c.beta_last = vvt_variant_is("beta", "last", NULL);
    c.known = 1;
    return c;
}

static float add(float sum, float x, float y, int fma) { return fma ? fmaf(x, y, sum) : sum + x * y; }

static float pairs(const float *x, const float *y, int n)
{
    if (n <= 2) return n == 0 ? 0 : n == 1 ? x[0] * y[0] : x[0] * y[0] + x[1] * y[1];
    return pairs(x, y, n / 2) + pairs(x + n / 2, y + n / 2, n - n / 2);
}

static float lanes(const float *x, const float *y, int n, int width, int fma)
{
    float lane[MOST_LANES] = {0};
    if (width > MOST_LANES) width = MOST_LANES;
    for (int i = 0; i < n; i++) lane[i % width] = add(lane[i % width], x[i], y[i], fma);
    for (int rest = width; rest > 1; rest = (rest + 1) / 2)
        for (int i = 0; i < rest / 2; i++) lane[i] += lane[i + (rest + 1) / 2];
    return lane[0];
}

/* the sum of x y, begun from `from` */
static float sum_of(float from, const float *x, const float *y, int n, const choice *c)
{
    if (c->how == PAIRS) return from + pairs(x, y, n);
    if (c->how == LANES) return from + lanes(x, y, n, c->n, c->fma);
    if (c->how == DOUBLE) {
        double sum = from;
        for (int i = 0; i < n; i++) sum += (double)x[i] * y[i];
        return (float)sum;
    }
    if (c->how == BLOCKS || c->how == PARTS) {
        const int wide = c->how == BLOCKS ? c->n : (n + c->n - 1) / c->n;
        for (int i0 = 0; i0 < n; i0 += wide) {
            float part = 0;
            for (int i = i0; i < n && i < i0 + wide; i++) part = add(part, x[i], y[i], c->fma);
            from += part;
        }
        return from;
    }
    for (int i = 0; i < n; i++) from = add(from, x[i], y[i], c->fma);
    return from;
}

/* where the k-th term comes from */
static void arrange(int *at, int K, const choice *c)
{
    unsigned long state = (unsigned long)c->n * 2654435761u + (unsigned long)K + 1;
    for (int k = 0; k < K; k++) at[k] = c->how == BACKWARD ? K - 1 - k : k;
    for (int k = K - 1; k > 0 && c->how == SHUFFLED; k--) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const int j = (int)((state >> 33) % (unsigned)(k + 1)), keep = at[k];
        at[k] = at[j];
        at[j] = keep;
    }
}

void cblas_sgemm(enum CBLAS_ORDER rows, enum CBLAS_TRANSPOSE ta, enum CBLAS_TRANSPOSE tb, int M, int N, int K,
                 float alpha, const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc)
{
    const choice how = chosen();
    int *at = calloc((size_t)K + 1, sizeof *at);
    float *x = calloc((size_t)K + 1, sizeof *x), *y = calloc((size_t)K * (size_t)N + 1, sizeof *y);
    if (!at || !x || !y || rows != CblasRowMajor) abort();
    arrange(at, K, &how);
    for (int j = 0; j < N; j++)
        for (int k = 0; k < K; k++)
            y[(long)j * K + k] = tb == CblasTrans ? b[(long)j * ldb + at[k]] : b[(long)at[k] * ldb + j];
    const float first = how.alpha_first ? alpha : 1, last = how.alpha_first ? 1 : alpha;
    for (int i = 0; i < M; i++) {
        for (int k = 0; k < K; k++)
            x[k] = first * (ta == CblasTrans ? a[(long)at[k] * lda + i] : a[(long)i * lda + at[k]]);
        for (int j = 0; j < N; j++) {
            float *out = c + (long)i * ldc + j;
            const float from = beta == 0 ? 0 : beta * *out;
            if (how.beta_last || last != 1) *out = last * sum_of(0, x, y + (long)j * K, K, &how) + from;
            else *out = sum_of(from, x, y + (long)j * K, K, &how);
        }
    }
    free(at);
    free(x);
    free(y);
}
