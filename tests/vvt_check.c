#include "vvt_check.h"

#include <float.h>

#include "base/rng.h"

/* ---- buffers ------------------------------------------------------------------------------------------------------ */
/* The guard is a NaN in float, and two of them are one in double: a value read from outside spoils the result. */
static void guard_words(uint32_t w[VVT_GUARD / 4])
{
    for (int i = 0; i < VVT_GUARD / 4; i++) w[i] = 0x7fd0dead;
}

vvt_buffer vvt_buffer_new(const void *host, int64_t bytes)
{
    uint32_t guard[VVT_GUARD / 4];
    guard_words(guard);
    vvt_buffer b = {vvb_alloc(bytes + 2 * VVT_GUARD), bytes};
    if (!b.base) ck_abort_msg("out of memory");
    vvb_upload(b.base, guard, VVT_GUARD);
    vvb_upload(b.base + VVT_GUARD, host, bytes);
    vvb_upload(b.base + VVT_GUARD + bytes, guard, VVT_GUARD);
    return b;
}

void vvt_buffer_free(vvt_buffer *b)
{
    if (b->base) vvb_free(b->base, b->bytes + 2 * VVT_GUARD);
    b->base = NULL;
}

void *vvt_buffer_at(const vvt_buffer *b) { return b->base + VVT_GUARD; }
void vvt_buffer_get(const vvt_buffer *b, void *host) { vvb_download(host, b->base + VVT_GUARD, b->bytes); }

int vvt_buffer_intact(const vvt_buffer *b)
{
    uint32_t guard[VVT_GUARD / 4], now[2][VVT_GUARD / 4];
    guard_words(guard);
    vvb_download(now[0], b->base, VVT_GUARD);
    vvb_download(now[1], b->base + VVT_GUARD + b->bytes, VVT_GUARD);
    return !memcmp(guard, now[0], VVT_GUARD) && !memcmp(guard, now[1], VVT_GUARD);
}

/* ---- fills -------------------------------------------------------------------------------------------------------- */
const char *vvt_fill_name(vvt_fill f)
{
    static const char *const name[] = {"integers", "uniform", "normal", "positive"};
    return name[f];
}

uint64_t vvt_seed = 1;

void vvt_fill_array(vv_real *x, int64_t n, vvt_fill f, const char *stream)
{
    const uint64_t s = vv_stream(stream);
    for (int64_t i = 0; i < n; i++) {
        const uint64_t k = (uint64_t)i;
        const double v = f == VVT_NORMAL ? vv_random_normal(vvt_seed, s, k) : vv_random_uniform(vvt_seed, s, k);
        x[i] = (vv_real)(f == VVT_INTEGERS   ? floor(9 * v) - 4
                         : f == VVT_UNIFORM  ? 2 * v - 1
                         : f == VVT_POSITIVE ? 0.5 + v
                                             : v);
    }
}

/* ---- comparison --------------------------------------------------------------------------------------------------- */
#ifdef VV_DOUBLE
enum { MANT_DIG = DBL_MANT_DIG, MIN_EXP = DBL_MIN_EXP };
#else
enum { MANT_DIG = FLT_MANT_DIG, MIN_EXP = FLT_MIN_EXP };
#endif

static vvt_ref ulp(vvt_ref x)
{
    int e = MIN_EXP;
    if (x != 0) (void)frexpl(x, &e);
    return ldexpl(1, (e < MIN_EXP ? MIN_EXP : e) - MANT_DIG);
}

static vvt_ref unit(void) { return (vvt_ref)vvb_get_info()->unit_roundoff; }

/* what the class allows at one element */
static vvt_ref tolerance(const vvt_spec *s, vvt_ref ref, vvt_ref gauge)
{
    const vvt_ref k = (vvt_ref)(s->k > 1 ? s->k : 1), tiny = ldexpl(1, MIN_EXP - MANT_DIG);
    if (s->class == VVT_EXACT) return 0;
    if (s->class == VVT_ULP) return k * ulp(ref) + k * (vvt_ref)LDBL_EPSILON * fabsl(ref) + gauge;
    return 4 * sqrtl(k) * unit() * gauge + k * (vvt_ref)LDBL_EPSILON * gauge + k * tiny;
}

/* what is wrong with the reference, or NULL */
static const char *untrusted(const vvt_ref *ref, const vvt_ref *gauge, const vvt_spec *s)
{
    int64_t zeros = 0, differ = 0, bad = 0, n = s->rows * s->cols;
    for (int64_t r = 0; r < s->rows; r++)
        for (int64_t c = 0; c < s->cols; c++) {
            const vvt_ref v = ref[r * s->ld + c];
            zeros += v == 0;
            differ += v != ref[0];
            bad += !isfinite(v) || (gauge && !(gauge[r * s->ld + c] >= 0 && isfinite(gauge[r * s->ld + c])));
        }
    if (bad && !s->nonfinite_expected) return "reference or gauge is not finite";
    if (n < 8 || s->zeros_expected) return NULL; /* so few may be zero or equal by chance */
    if (10 * zeros > 3 * n) return "more than 30 % of the reference is zero";
    return differ ? NULL : "the reference is constant";
}

static int same_nonfinite(vvt_ref got, vvt_ref ref, int either)
{
    if (either && !isfinite(ref)) return !isfinite(got);
    return isnan(ref) ? isnan(got) : got == ref;
}

static void print_failure(const vvt_spec *s, vvt_result *out, int64_t i, vvt_ref got, vvt_ref ref, vvt_ref ratio)
{
    if (++out->failures > 10 || s->quiet) return;
    if (out->failures == 1) printf("FAIL %s: %lld x %lld\n", s->name, (long long)s->rows, (long long)s->cols);
    printf("  [%lld] [%lld,%lld] ref %.9Lg got %.9Lg err/tol %.3Lg\n", (long long)i, (long long)(i / s->cols),
           (long long)(i % s->cols), ref, got, ratio);
}

/* Of few elements the RMS is a matter of chance: 1 + 3/sqrt(n) lets a single one have all of 4 sqrt(K) u, many only a quarter. */
static double rms_ratio(const vvt_spec *s, vvt_ref errors2, vvt_ref gauges2, int64_t n)
{
    if (s->class != VVT_DOT || n == 0 || errors2 == 0) return 0;
    const vvt_ref all = tolerance(s, 0, sqrtl(gauges2 / (vvt_ref)n));
    return (double)(sqrtl(errors2 / (vvt_ref)n) / (all / 4 * (1 + 3 / sqrtl((vvt_ref)n))));
}

vvt_result vvt_compare(const vv_real *got, const vvt_ref *ref, const vvt_ref *gauge, const vvt_spec *s)
{
    vvt_result out = {VVT_PASS, 0, 0, 0};
    vvt_ref errors2 = 0, gauges2 = 0;
    int64_t finite = 0;
    for (int64_t i = 0; i < s->rows * s->cols; i++) {
        const int64_t at = i / s->cols * s->ld + i % s->cols;
        const vvt_ref g = (vvt_ref)got[at], w = ref[at], scale = gauge ? gauge[at] : 0;
        if (!isfinite(g) || !isfinite(w)) {
            if (!same_nonfinite(g, w, s->nonfinite_expected == 2)) print_failure(s, &out, i, g, w, INFINITY);
            continue;
        }
        const vvt_ref err = fabsl(g - w), tol = tolerance(s, w, scale);
        const vvt_ref ratio =
            err == 0 ? 0 : err / tol; /* the gauge is not finite where NaN was declared: no test there */
        if (err > tol) print_failure(s, &out, i, g, w, ratio);
        if (ratio > out.worst) out.worst = (double)ratio;
        if (!isfinite(scale)) continue;
        errors2 += err * err;
        gauges2 += scale * scale;
        finite++;
    }
    out.rms = rms_ratio(s, errors2, gauges2, finite);
    const char *why = untrusted(ref, gauge, s);
    out.verdict = why ? VVT_UNTRUSTED : out.failures || out.rms > 1 ? VVT_FAIL : VVT_PASS;
    if (out.verdict == VVT_PASS || s->quiet) return out;
    if (why) printf("untrusted: %s: %s\n", s->name, why);
    else
        printf("  %s: %lld outside the tolerance; RMS of the errors %.3g of the allowed\n", s->name,
               (long long)out.failures, out.rms);
    printf("  repeat: %s\n", s->repeat);
    return out;
}
