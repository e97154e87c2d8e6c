/* Principal components by orthogonal iteration with Rayleigh-Ritz.
 *
 * With D the centred features, the components come from the eigenvectors of G = D^T D (or of D D^T when there are fewer
 * tokens than channels: same eigenvalues, and v = D^T u turns one's eigenvectors into the other's). A block of 8
 * vectors is multiplied by G, made orthonormal and rotated to the eigenvectors of its 8x8 projection (Jacobi), until
 * the first 3 satisfy G v = lambda v. Convergence goes by lambda_9/lambda_3, not by the gaps among the first three;
 * features without any structure (white noise) stop after 100 rounds, with directions as good as any.
 * Every sum has one owner and a fixed order, so the bits do not depend on the number of threads. */
#include "eval/pca.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { KEEP = 3, BLOCK = 8, TILE = 64, ROUNDS = 100, SWEEPS = 30 };

/* ---- the data --------------------------------------------------------------------------------------------------- */

/* d = (x - mean)/largest |x| as [rows,cols] with cols = min(N,C): [N,C], or transposed [C,N]. Scaling keeps squares
 * from overflow and underflow. *sum2 = the sum of squares before centring, against which a variance is judged. */
static void centre(double *d, double *sum2, const double *x, int64_t N, int64_t C, double largest)
{
    const int transposed = N < C;
    *sum2 = 0;
    for (int64_t i = 0; i < N * C; i++) *sum2 += x[i] / largest * (x[i] / largest);
#pragma omp parallel for
    for (int64_t c0 = 0; c0 < C; c0 += TILE) {
        const int64_t m = vv_min(TILE, C - c0);
        double mean[TILE] = {0};
        for (int64_t n = 0; n < N; n++)
            for (int64_t c = 0; c < m; c++) mean[c] += x[n * C + c0 + c] / largest;
        for (int64_t c = 0; c < m; c++) mean[c] /= (double)N;
        for (int64_t n = 0; n < N; n++)
            for (int64_t c = 0; c < m; c++)
                d[transposed ? (c0 + c) * N + n : n * C + c0 + c] = x[n * C + c0 + c] / largest - mean[c];
    }
}

/* g [m,m] = d^T d for d [k,m], a tile at a time; the lower half is the mirror of the upper. */
static void gram(double *g, const double *d, int64_t k, int64_t m)
{
    const int64_t tiles = (m + TILE - 1) / TILE;
#pragma omp parallel for schedule(dynamic)
    for (int64_t t = 0; t < tiles * tiles; t++) {
        const int64_t i0 = t / tiles * TILE, j0 = t % tiles * TILE;
        if (j0 < i0) continue;
        const int64_t ni = vv_min(TILE, m - i0), nj = vv_min(TILE, m - j0);
        double sum[TILE][TILE] = {{0}};
        for (int64_t r = 0; r < k; r++) {
            const double *row = d + r * m;
            for (int64_t i = 0; i < ni; i++) {
                const double a = row[i0 + i];
                for (int64_t j = 0; j < nj; j++) sum[i][j] += a * row[j0 + j];
            }
        }
        for (int64_t i = 0; i < ni; i++)
            for (int64_t j = 0; j < nj; j++) g[(i0 + i) * m + j0 + j] = g[(j0 + j) * m + i0 + i] = sum[i][j];
    }
}

/* ---- the eigenvectors ------------------------------------------------------------------------------------------- */

/* w [m,BLOCK] = g [m,m] v [m,BLOCK] */
static void multiply(double *w, const double *g, const double *v, int64_t m)
{
#pragma omp parallel for if (m >= 128)
    for (int64_t i = 0; i < m; i++) {
        double sum[BLOCK] = {0};
        for (int64_t k = 0; k < m; k++)
            for (int64_t p = 0; p < BLOCK; p++) sum[p] += g[i * m + k] * v[k * BLOCK + p];
        memcpy(w + i * BLOCK, sum, sizeof sum);
    }
}

static double column_dot(const double *v, int64_t p, const double *w, int64_t q, int64_t m)
{
    double sum = 0;
    for (int64_t i = 0; i < m; i++) sum += v[i * BLOCK + p] * w[i * BLOCK + q];
    return sum;
}

/* Gram-Schmidt, twice because once is not orthogonal to rounding. A column of which nothing but rounding is left (the
 * rank is used up) becomes zero and stays so. */
static void orthonormalise(double *v, int64_t m)
{
    for (int64_t p = 0; p < BLOCK; p++) {
        const double before = sqrt(column_dot(v, p, v, p, m));
        for (int again = 0; again < 2; again++)
            for (int64_t q = 0; q < p; q++) {
                const double along = column_dot(v, q, v, p, m);
                for (int64_t i = 0; i < m; i++) v[i * BLOCK + p] -= along * v[i * BLOCK + q];
            }
        const double after = sqrt(column_dot(v, p, v, p, m)), scale = after > 1e-12 * before ? 1 / after : 0;
        for (int64_t i = 0; i < m; i++) v[i * BLOCK + p] *= scale;
    }
}

/* Eigenvalues (diagonal of t, afterwards) and eigenvectors (columns of q) of the symmetric t, by cyclic Jacobi. */
static void jacobi(double t[BLOCK][BLOCK], double q[BLOCK][BLOCK])
{
    for (int i = 0; i < BLOCK; i++)
        for (int j = 0; j < BLOCK; j++) q[i][j] = i == j;
    for (int sweep = 0; sweep < SWEEPS; sweep++)
        for (int a = 0; a < BLOCK; a++)
            for (int b = a + 1; b < BLOCK; b++) {
                if (t[a][b] == 0) continue;
                const double theta = (t[b][b] - t[a][a]) / (2 * t[a][b]);
                const double tangent = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1));
                const double c = 1 / sqrt(tangent * tangent + 1), s = tangent * c;
                for (int k = 0; k < BLOCK; k++) {
                    const double x = t[k][a], y = t[k][b], u = q[k][a], v = q[k][b];
                    t[k][a] = c * x - s * y;
                    t[k][b] = s * x + c * y;
                    q[k][a] = c * u - s * v;
                    q[k][b] = s * u + c * v;
                }
                for (int k = 0; k < BLOCK; k++) {
                    const double x = t[a][k], y = t[b][k];
                    t[a][k] = c * x - s * y;
                    t[b][k] = s * x + c * y;
                }
                t[a][b] = t[b][a] = 0;
            }
}

/* v := v r, w := w r with r the columns of q in falling order of the eigenvalues, which go to value. */
static void rotate(double *v, double *w, double value[BLOCK], double t[BLOCK][BLOCK], double q[BLOCK][BLOCK], int64_t m)
{
    int order[BLOCK] = {0};
    for (int i = 0; i < BLOCK; i++) {
        int j = i;
        for (; j > 0 && t[order[j - 1]][order[j - 1]] < t[i][i]; j--) order[j] = order[j - 1];
        order[j] = i;
    }
    for (int i = 0; i < BLOCK; i++) value[i] = t[order[i]][order[i]];
    for (int64_t r = 0; r < m; r++) {
        double a[BLOCK] = {0}, b[BLOCK] = {0};
        for (int k = 0; k < BLOCK; k++)
            for (int i = 0; i < BLOCK; i++) {
                a[i] += v[r * BLOCK + k] * q[k][order[i]];
                b[i] += w[r * BLOCK + k] * q[k][order[i]];
            }
        memcpy(v + r * BLOCK, a, sizeof a);
        memcpy(w + r * BLOCK, b, sizeof b);
    }
}

/* The first eigenvectors of g [m,m] into the first columns of v [m,BLOCK], eigenvalues into value. w is scratch. */
static void eigenvectors(double *v, double value[BLOCK], double *w, const double *g, int64_t m)
{
    uint64_t state = 1; /* fixed start vectors */
    for (int64_t i = 0; i < m * BLOCK; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        v[i] = (double)(state >> 11) * 0x1p-52 - 1;
    }
    orthonormalise(v, m);
    for (int round = 0; round < ROUNDS; round++) {
        double t[BLOCK][BLOCK], q[BLOCK][BLOCK], worst = 0;
        multiply(w, g, v, m);
        for (int a = 0; a < BLOCK; a++)
            for (int b = a; b < BLOCK; b++) t[a][b] = t[b][a] = column_dot(v, a, w, b, m);
        jacobi(t, q);
        rotate(v, w, value, t, q, m);
        for (int p = 0; p < KEEP; p++) {
            double error = 0;
            for (int64_t i = 0; i < m; i++) {
                const double e = w[i * BLOCK + p] - value[p] * v[i * BLOCK + p];
                error += e * e;
            }
            worst = fmax(worst, sqrt(error));
        }
        if (worst <= 1e-10 * value[0]) return;
        memcpy(v, w, (size_t)(m * BLOCK) * sizeof *v);
        orthonormalise(v, m);
    }
}

/* ---- the components --------------------------------------------------------------------------------------------- */

/* direction [C] of component p, unit length, signed; zero stays zero. */
static void direction(double *dir, const double *d, const double *v, int64_t p, int64_t N, int64_t C)
{
    double norm = 0, peak = 0;
#pragma omp parallel for if (N * C >= 1 << 15)
    for (int64_t c = 0; c < C; c++) {
        if (N >= C) dir[c] = v[c * BLOCK + p];
        else {
            dir[c] = 0;
            for (int64_t n = 0; n < N; n++) dir[c] += d[c * N + n] * v[n * BLOCK + p];
        }
    }
    for (int64_t c = 0; c < C; c++) {
        norm += dir[c] * dir[c];
        if (fabs(dir[c]) > fabs(peak)) peak = dir[c];
    }
    const double scale = norm > 0 ? (peak < 0 ? -1 : 1) / sqrt(norm) : 0;
    for (int64_t c = 0; c < C; c++) dir[c] *= scale;
}

static vv_status check_sizes(int64_t N, int64_t C, vv_error *err)
{
    if (N >= 1 && C >= 1 && vv_mul(N, C) > 0) return VV_OK;
    return vv_fail(err, VV_USAGE, "principal components of [%lld,%lld]: expected sizes of at least 1", (long long)N,
                   (long long)C);
}

static vv_status check_values(const double *x, int64_t N, int64_t C, double *largest, vv_error *err)
{
    *largest = 0;
    for (int64_t i = 0; i < N * C; i++) {
        if (!(fabs(x[i]) <= 1e150))
            return vv_fail(
                err, VV_NONFINITE,
                "principal components: row %lld, channel %lld: expected a number within 1e150 of 0, found %g",
                (long long)(i / C), (long long)(i % C), x[i]);
        *largest = fmax(*largest, fabs(x[i]));
    }
    return VV_OK;
}

vv_status vv_pca_components(const double *x, int64_t N, int64_t C, double *comp, double *var, vv_error *err)
{
    double largest = 0, sum2 = 0, total = 0, value[BLOCK] = {0};
    VV_TRY(check_sizes(N, C, err));
    VV_TRY(check_values(x, N, C, &largest, err));
    memset(comp, 0, (size_t)(KEEP * N) * sizeof *comp);
    if (var) memset(var, 0, KEEP * sizeof *var);
    if (largest == 0) return VV_OK;

    const int64_t m = vv_min(N, C), k = vv_max(N, C);
    double *d = vv_calloc(N * C, sizeof *d), *g = vv_calloc(vv_mul(m, m), sizeof *g), *dir = vv_calloc(C, sizeof *dir);
    double *v = vv_calloc(vv_mul(m, BLOCK), sizeof *v), *w = vv_calloc(vv_mul(m, BLOCK), sizeof *w);
    const vv_status s = d && g && dir && v && w ? VV_OK : vv_no_memory(err, "principal components");
    if (s != VV_OK) goto done;
    centre(d, &sum2, x, N, C, largest);
    gram(g, d, k, m);
    for (int64_t i = 0; i < m; i++) total += g[i * m + i];
    if (total <= 1e-26 * sum2) goto done; /* constant, up to the rounding of the mean */
    eigenvectors(v, value, w, g, m);
    for (int p = 0; p < KEEP; p++) {
        if (value[p] <= 1e-13 * total) break;
        direction(dir, d, v, p, N, C);
#pragma omp parallel for if (N * C >= 1 << 15)
        for (int64_t n = 0; n < N; n++) {
            double sum = 0;
            for (int64_t c = 0; c < C; c++) sum += (N >= C ? d[n * C + c] : d[c * N + n]) * dir[c];
            comp[n * KEEP + p] = sum * largest;
        }
        if (var) var[p] = value[p] / (double)N * largest * largest;
    }
done:
    free(d);
    free(g);
    free(dir);
    free(v);
    free(w);
    return s;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

vv_status vv_pca_image(const double *x, int64_t N, int64_t C, unsigned char *rgb, vv_error *err)
{
    VV_TRY(check_sizes(N, C, err));
    double *comp = vv_calloc(vv_mul(N, KEEP), sizeof *comp), *sorted = vv_calloc(N, sizeof *sorted);
    vv_status s = comp && sorted ? VV_OK : vv_no_memory(err, "principal components");
    if (s == VV_OK) s = vv_pca_components(x, N, C, comp, NULL, err);
    for (int p = 0; p < KEEP && s == VV_OK; p++) {
        for (int64_t n = 0; n < N; n++) sorted[n] = comp[n * KEEP + p];
        qsort(sorted, (size_t)N, sizeof *sorted, compare);
        /* Between the 1st and 99th percentile; between the extremes when nearly all values are equal. */
        const int64_t cut = sorted[(N - 1) / 100] < sorted[N - 1 - (N - 1) / 100] ? (N - 1) / 100 : 0;
        const double lo = sorted[cut], range = sorted[N - 1 - cut] - lo;
        for (int64_t n = 0; n < N; n++) {
            const double level = range > 0 ? (comp[n * KEEP + p] - lo) / range * 255 : 128;
            rgb[n * 3 + p] = (unsigned char)(fmin(fmax(level, 0), 255) + 0.5);
        }
    }
    free(comp);
    free(sorted);
    return s;
}
