#include "golden/measure.h"

#include <math.h>
#include <stdlib.h>

static double largest(const double *r, const double *g, int64_t n)
{
    double top = 0;
    for (int64_t i = 0; i < n; i++) {
        const double most = fmax(fabs(r[i]), fabs(g[i] - r[i]));
        if (isfinite(most) && most > top) top = most;
    }
    return top;
}

static double ulps(double r, double g)
{
    int e = 0;
    (void)frexp(r, &e); /* |r| in [2^(e-1), 2^e): its unit is 2^(e-24) */
    return fabs(g - r) / ldexp(1, r == 0 || e < -125 ? -149 : e - 24);
}

/* the k-th smallest of u (from 0), which it reorders: Hoare's selection */
static double select_nth(double *u, int64_t n, int64_t k)
{
    int64_t lo = 0, hi = n - 1;
    while (lo < hi) {
        const double pivot = u[lo + (hi - lo) / 2];
        int64_t i = lo, j = hi;
        while (i <= j) {
            while (u[i] < pivot) i++;
            while (u[j] > pivot) j--;
            if (i > j) break;
            const double swap = u[i];
            u[i++] = u[j];
            u[j--] = swap;
        }
        if (k <= j) hi = j;
        else if (k >= i) lo = i;
        else break;
    }
    return u[k];
}

static vv_status percentiles(vv_measure *m, const double *r, const double *g, int64_t n, vv_error *err)
{
    double *u = vv_calloc(n, sizeof *u);
    if (!u) return vv_no_memory(err, "ulp");
    for (int64_t i = 0; i < n; i++) {
        u[i] = ulps(r[i], g[i]);
        m->ulp[VV_ULP_MAX] = fmax(m->ulp[VV_ULP_MAX], u[i]);
    }
    m->ulp[VV_ULP_50] = select_nth(u, n, (n - 1) / 2);
    m->ulp[VV_ULP_99] = select_nth(u, n, (n - 1) * 99 / 100);
    free(u);
    return VV_OK;
}

vv_status vv_measure_pair(vv_measure *m, const double *r, const double *g, int64_t n, double scale, double rms,
                          vv_error *err)
{
    const double top = largest(r, g, n);
    double rr = 0, dd = 0, gg = 0, rg = 0;
    *m = (vv_measure){.finite_r = 1, .finite_g = 1, .constant = 1, .cosine = 1, .base = 1};
    for (int64_t i = 0; i < n; i++) {
        const double d = fabs(g[i] - r[i]), a = top > 0 ? r[i] / top : 0, b = top > 0 ? g[i] / top : 0,
                     c = top > 0 ? d / top : 0;
        m->finite_r &= isfinite(r[i]) != 0;
        if (!isfinite(g[i]) && m->finite_g) {
            m->finite_g = 0;
            m->worst = i;
        }
        m->constant &= r[i] == r[0];
        rr += a * a;
        gg += b * b;
        rg += a * b;
        dd += c * c;
        if (m->finite_g && d > m->max_abs) {
            m->max_abs = d;
            m->worst = i;
        }
    }
    if (n == 0) return VV_OK;
    m->want = r[m->worst];
    m->got = g[m->worst];
    m->rms = rms >= 0 ? rms : top * sqrt(rr / (double)n);
    const double base = fmax(m->rms, scale);
    m->base = base > 0 ? base : 1;
    m->rel_rms = top * sqrt(dd / (double)n) / m->base;
    if (rr > 0 || gg > 0) m->cosine = rr > 0 && gg > 0 ? rg / (sqrt(rr) * sqrt(gg)) : 0;
    return m->finite_r && m->finite_g ? percentiles(m, r, g, n, err) : VV_OK;
}

double vv_distance(const double *r, const double *g, int64_t n)
{
    const double top = largest(r, g, n);
    double rr = 0, dd = 0;
    for (int64_t i = 0; i < n; i++) {
        const double a = top > 0 ? r[i] / top : 0, d = top > 0 ? (g[i] - r[i]) / top : 0;
        rr += a * a;
        dd += d * d;
    }
    return rr > 0 ? sqrt(dd / rr) : top * sqrt(dd);
}
