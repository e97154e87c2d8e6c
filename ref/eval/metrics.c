/* The formulas stand in the header. */
#include "eval/metrics.h"

#include <math.h>

#include "base/elementary.h"

static int counts(const unsigned char *valid, int64_t i) { return !valid || valid[i]; }
static double share(double part, double all) { return all > 0 ? part / all : (double)NAN; }

void vv_average_add(vv_average *a, double x)
{
    if (isnan(x)) return;
    a->sum += x;
    a->n++;
}

double vv_average_of(const vv_average *a) { return share(a->sum, a->n); }

/* ---- depth ----------------------------------------------------------------------------------------------------------------- */
vv_depth_errors vv_depth_compare(const double *z, const double *d, const unsigned char *valid, int64_t n)
{
    double square = 0, square_log = 0, relative = 0, within = 0;
    vv_depth_errors e = {0};
    for (int64_t i = 0; i < n; i++) {
        if (!counts(valid, i)) continue;
        const double off = z[i] - d[i], off_log = vv_log(z[i] / d[i]);
        e.pixels++;
        square += off * off;
        square_log += off_log * off_log;
        relative += fabs(off) / d[i];
        within += z[i] < 1.25 * d[i] && d[i] < 1.25 * z[i];
    }
    const double N = (double)e.pixels;
    e.rmse = sqrt(share(square, N));
    e.rmse_log = sqrt(share(square_log, N));
    e.abs_rel = share(relative, N);
    e.delta1 = share(within, N);
    return e;
}

/* Of centred values: s = sum q p / sum q^2. What the spread of equal numbers is by rounding counts as none. */
int vv_align(double *s, double *o, const double *q, const double *p, const unsigned char *valid, int64_t n)
{
    double N = 0, mean_q = 0, mean_p = 0, qq = 0, qp = 0, size = 0;
    *s = *o = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!counts(valid, i)) continue;
        N++;
        mean_q += q[i];
        mean_p += p[i];
        size += q[i] * q[i];
    }
    if (N == 0) return 0;
    mean_q /= N;
    mean_p /= N;
    for (int64_t i = 0; i < n; i++) {
        if (!counts(valid, i)) continue;
        qq += (q[i] - mean_q) * (q[i] - mean_q);
        qp += (q[i] - mean_q) * (p[i] - mean_p);
    }
    if (qq > 1e-20 * size) *s = qp / qq;
    *o = mean_p - *s * mean_q;
    return 1;
}

void vv_depth_from_disparity(double *z, const double *q, int64_t n, double s, double o, double least, double most)
{
    for (int64_t i = 0; i < n; i++) {
        const double p = s * q[i] + o;
        z[i] = p * most > 1 ? 1 / p : most;
        if (z[i] < least) z[i] = least;
    }
}

static int64_t nearest(double at, int64_t size)
{
    const double i = floor(at + 0.5);
    return i > 0 ? (i < (double)size ? (int64_t)i : size - 1) : 0;
}

int64_t vv_order_correct(const double *z, int64_t h, int64_t w, const vv_point_pair *pair, int64_t n)
{
    int64_t correct = 0;
    for (int64_t i = 0; i < n; i++) {
        double at[2];
        for (int k = 0; k < 2; k++) at[k] = z[nearest(pair[i].y[k], h) * w + nearest(pair[i].x[k], w)];
        correct += pair[i].nearer ? at[1] < at[0] : at[0] < at[1];
    }
    return correct;
}

/* ---- classes --------------------------------------------------------------------------------------------------------------- */
void vv_class_add(vv_class_counts *c, const unsigned char *predicted, const unsigned char *label, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (label[i] >= c->classes) continue;
        c->pixels++;
        c->labelled[label[i]]++;
        if (predicted[i] < c->classes) c->predicted[predicted[i]]++;
        if (predicted[i] != label[i]) continue;
        c->correct++;
        c->both[label[i]]++;
    }
}

double vv_class_iou(const vv_class_counts *c, int64_t class)
{
    const int64_t either = c->predicted[class] + c->labelled[class] - c->both[class];
    return share((double)c->both[class], (double)either);
}

double vv_mean_iou(const vv_class_counts *c)
{
    double sum = 0, present = 0;
    for (int64_t k = 0; k < c->classes; k++) {
        const double iou = vv_class_iou(c, k);
        if (isnan(iou)) continue;
        sum += iou;
        present++;
    }
    return share(sum, present);
}

double vv_pixel_accuracy(const vv_class_counts *c) { return share((double)c->correct, (double)c->pixels); }

/* ---- masks ----------------------------------------------------------------------------------------------------------------- */
void vv_mask_add_counts(vv_mask_counts *c, int64_t both, int64_t either)
{
    const double iou = either ? (double)both / (double)either : !c->empty_is_wrong;
    c->samples++;
    c->both += both;
    c->either += either;
    c->sum += iou;
    c->half += iou >= 0.5;
}

void vv_mask_add(vv_mask_counts *c, const unsigned char *predicted, const unsigned char *label, int64_t n)
{
    int64_t both = 0, either = 0;
    for (int64_t i = 0; i < n; i++) {
        both += predicted[i] && label[i];
        either += predicted[i] || label[i];
    }
    vv_mask_add_counts(c, both, either);
}

double vv_ciou(const vv_mask_counts *c) { return share((double)c->both, (double)c->either); }
double vv_giou(const vv_mask_counts *c) { return share(c->sum, (double)c->samples); }
double vv_precision_half(const vv_mask_counts *c) { return share((double)c->half, (double)c->samples); }
