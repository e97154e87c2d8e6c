#include "golden/record.h"

#include <math.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/spool.h"
#include "ops/ops.h"

enum { KEY_MAX = VV_NAME_MAX + 64, HEX = 65 };

typedef struct {
    vv_st_decl decl; /* its name is owned */
    int64_t offset;  /* of its data in the spool */
    json_t *entry;   /* of the index */
    char sha[HEX];
    double
        column_rms; /* of a dact: RMS over the last axis of its columns' sums, taken absolutely; what a bias is measured by */
} item;

typedef struct {
    void *p;
    int64_t bytes;
} buffer;

struct vv_recorder {
    vv_record_options o;
    char *path;
    int update;
    char task[32];
    item *item;
    int64_t n, cap;
    vv_spool spool;
    buffer host, turned, coded; /* one tensor on its way: as it is, as a map of channels, in the file's type */
    double terms;               /* of the linear loss to come, taken absolutely; 0: none */
    vv_stw *out;
    vv_error err;
};

static int live(const vv_recorder *r) { return r->err.status == VV_OK; }

static void *room(vv_recorder *r, buffer *b, int64_t n, size_t size)
{
    const int64_t bytes = vv_mul(n, (int64_t)size);
    if (b->p && bytes >= 0 && bytes <= b->bytes) return b->p;
    free(b->p);
    b->bytes = bytes;
    if (!(b->p = vv_calloc(bytes, 1))) vv_no_memory(&r->err, "recording");
    return b->p;
}

void vv_sha256(const void *bytes, size_t n, char hex[65])
{
    struct sha256_ctx sha;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&sha);
    sha256_update(&sha, n, bytes);
    sha256_digest(&sha, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

int64_t vv_sample_at(int64_t n, int64_t i)
{
    /* in stretches of n / 4096 and a rest, so that no product overflows */
    const int64_t whole = n / VV_SAMPLES, rest = n % VV_SAMPLES, first = i * whole + i * rest / VV_SAMPLES,
                  next = (i + 1) * whole + (i + 1) * rest / VV_SAMPLES;
    const uint64_t turn = (uint64_t)i * 2654435769u & 0xffffffffu; /* 2^32 over the golden ratio */
    return first + (int64_t)(turn * (uint64_t)(next - first) >> 32);
}

/* ---- one entry ----------------------------------------------------------------------------------------------------------- */
static int is_one_of(const char *kind, const char *list)
{
    const size_t n = strlen(kind);
    for (const char *l = list; (l = strstr(l, kind)); l += n)
        if ((l == list || l[-1] == ' ') && (l[n] == ' ' || !l[n])) return 1;
    return 0;
}

static int is_exact(const char *kind) { return is_one_of(kind, "in w m v"); }

const char *vv_record_key(const vv_recorder *r, const char *kind, const char *name, char *buf)
{
    snprintf(buf, KEY_MAX, "u%d/%s/%s/%s", r->update, r->task, kind, name);
    return buf;
}

static item *find(const vv_recorder *r, const char *kind, const char *name)
{
    char key[KEY_MAX];
    vv_record_key(r, kind, name, key);
    for (int64_t i = r->n; i-- > 0;)
        if (!strcmp(r->item[i].decl.name, key)) return &r->item[i];
    return NULL;
}

static item *new_item(vv_recorder *r, const char *kind, const char *name, vv_dtype type)
{
    char key[KEY_MAX];
    if (r->n == r->cap) {
        const int64_t cap = r->cap ? 2 * r->cap : 256;
        item *more = realloc(r->item, (size_t)cap * sizeof *more);
        if (!more) {
            vv_no_memory(&r->err, "recording");
            return NULL;
        }
        r->item = more;
        r->cap = cap;
    }
    const int discrete = !is_exact(kind) && !vv_dtype_is_real(type),
              required = !strchr(name, '#') && is_one_of(kind, "in w act loss dw dstep");
    item *x = &r->item[r->n];
    *x = (item){.decl = {.name = vv_strdup(vv_record_key(r, kind, name, key)), .dtype = type},
                .entry = json_pack("{s:s, s:s, s:b}", "key", key, "class",
                                   is_exact(kind) ? "EXACT"
                                   : discrete     ? "DISCRETE"
                                                  : "CHAIN",
                                   "required", required)};
    r->n++;
    if (x->decl.name && x->entry) return x;
    vv_no_memory(&r->err, "recording");
    return NULL;
}

static void set(vv_recorder *r, item *x, const char *field, json_t *value)
{
    if (json_object_set_new(x->entry, field, value)) vv_no_memory(&r->err, "recording");
}

/* Three digits say enough, and print the same everywhere. */
static json_t *short_real(double x)
{
    char text[32];
    snprintf(text, sizeof text, "%.2e", x);
    return json_real(strtod(text, NULL));
}

void vv_record_mark(vv_recorder *r, const char *kind, const char *name, const char *field, json_t *value)
{
    char key[KEY_MAX];
    item *x = live(r) ? find(r, kind, name) : NULL;
    if (x) {
        set(r, x, field, value);
        return;
    }
    json_decref(value);
    vv_fail(&r->err, VV_USAGE, "recording: %s: marked \"%s\", but not recorded", vv_record_key(r, kind, name, key),
            field);
}

/* ---- values ------------------------------------------------------------------------------------------------------------------ */
/* The file's bytes of an item: digest, and into the spool; of a large one in sampled form, elements of it. */
static void store(vv_recorder *r, item *x, const unsigned char *bytes, int64_t n, int sample)
{
    const int64_t size = vv_dtype_size(x->decl.dtype);
    vv_sha256(bytes, (size_t)(n * size), x->sha);
    if (sample) {
        unsigned char some[VV_SAMPLES * 8];
        json_t *shape = json_array();
        for (int i = 0; i < x->decl.ndim; i++) json_array_append_new(shape, json_integer(x->decl.shape[i]));
        set(r, x, "shape", shape);
        set(r, x, "sample", json_integer(VV_SAMPLES));
        for (int64_t i = 0; i < VV_SAMPLES; i++)
            memcpy(some + i * size, bytes + vv_sample_at(n, i) * size, (size_t)size);
        x->decl.ndim = 1;
        x->decl.shape[0] = VV_SAMPLES;
        r->err.status = vv_spool_add(&r->spool, some, VV_SAMPLES * size, &x->offset, &r->err);
    } else {
        r->err.status = vv_spool_add(&r->spool, bytes, n * size, &x->offset, &r->err);
    }
}

void vv_record_host(vv_recorder *r, const char *kind, const char *name, vv_dtype type, int ndim, const int64_t *shape,
                    const void *bytes)
{
    item *x = live(r) ? new_item(r, kind, name, type) : NULL;
    int64_t n = 1;
    if (!x) return;
    x->decl.ndim = ndim;
    for (int i = 0; i < ndim; i++) n *= x->decl.shape[i] = shape[i];
    store(r, x, bytes, n, r->o.sample && n > VV_SAMPLES && strcmp(kind, "in") != 0);
}

static void size_of(vv_recorder *r, item *x, const vv_real *v, int64_t n)
{
    double top = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        top = fmax(top, fabs((double)v[i]));
        sum += (double)v[i] * (double)v[i];
    }
    set(r, x, "rms", json_real(sqrt(sum / (double)n)));
    set(r, x, "max", json_real(top));
}

/* The recording of the same name that takes the values' place, in the file's order. */
static void replace(vv_recorder *r, const item *x, vv_real *v)
{
    const vv_st_entry *e = vv_st_find(r->o.resync, x->decl.name);
    if (!e) return;
    int same = e->ndim == x->decl.ndim;
    for (int i = 0; same && i < e->ndim; i++) same = e->shape[i] == x->decl.shape[i];
    if (same) {
        r->err.status = vv_st_read_real(r->o.resync, e, v, &r->err);
        return;
    }
    char want[200], got[200];
    vv_fail(&r->err, VV_FILE, "%s: %s: expected shape %s; found %s", vv_st_path(r->o.resync), x->decl.name,
            vv_shape_text(x->decl.shape, x->decl.ndim, want, sizeof want),
            vv_shape_text(e->shape, e->ndim, got, sizeof got));
}

static item *add_reals(vv_recorder *r, const char *kind, const char *name, int ndim, const int64_t *shape, vv_real *v)
{
    const int exact = is_exact(kind);
    const vv_dtype type = exact ? VV_DT_F32 : VV_DT_REAL;
    item *x = new_item(r, kind, name, type);
    int64_t n = 1;
    if (!x) return NULL;
    x->decl.ndim = ndim;
    for (int i = 0; i < ndim; i++) n *= x->decl.shape[i] = shape[i];
    unsigned char *coded = room(r, &r->coded, n, (size_t)vv_dtype_size(type));
    if (!coded) return NULL;
    vv_encode_real(coded, v, type, n);
    const int sample = r->o.sample && n > VV_SAMPLES && strcmp(kind, "in") != 0;
    if (sample) size_of(r, x, v, n);
    if (r->o.resync && !exact && !sample) replace(r, x, v);
    if (live(r)) store(r, x, coded, n, sample);
    return x;
}

void vv_record_reals(vv_recorder *r, const char *kind, const char *name, int ndim, const int64_t *shape,
                     vv_real *values)
{
    if (live(r)) (void)add_reals(r, kind, name, ndim, shape, values);
}

/* ---- tensors ------------------------------------------------------------------------------------------------------------------ */
/* [B,H,W,C] to [B,C,H,W], or back */
static void turn(vv_real *dst, const vv_real *src, const int64_t bhw[3], int64_t C, int back)
{
    const int64_t pixels = bhw[1] * bhw[2];
    for (int64_t b = 0; b < bhw[0]; b++)
        for (int64_t p = 0; p < pixels; p++)
            for (int64_t c = 0; c < C; c++) {
                const int64_t here = (b * pixels + p) * C + c, there = (b * C + c) * pixels + p;
                dst[back ? here : there] = src[back ? there : here];
            }
}

/* RMS over the last axis of the sums of absolute values over the others */
static double column_rms(const vv_tensor *x, const vv_real *v)
{
    const int64_t C = vv_last(x), rows = vv_rows(x);
    double total = 0;
    for (int64_t c = 0; c < C; c++) {
        double sum = 0;
        for (int64_t i = 0; i < rows; i++) sum += fabs((double)v[i * C + c]);
        total += sum * sum;
    }
    return C ? sqrt(total / (double)C) : 0;
}

static int by_dimensions(const char *name, const vv_tensor *x, int64_t bhw[3])
{
    (void)name;
    for (int i = 0; i < 3; i++) bhw[i] = x->dim[i];
    return x->ndim == 4;
}

/* values: x's own or its gradient, on the backend */
static void add_tensor(vv_recorder *r, const char *kind, const char *name, const vv_tensor *x, vv_real *values)
{
    const int64_t bytes = x->n * (int64_t)sizeof *values;
    int64_t bhw[3], dim[4];
    vv_real *v = live(r) ? room(r, &r->host, x->n, sizeof *v) : NULL;
    if (!v) return;
    vvb_download(v, values, bytes);
    const double columns = !strcmp(kind, "dact") && x->ndim > 0 ? column_rms(x, v) : 0;
    const int map = !is_one_of(kind, "w m v dw dstep") && (r->o.map ? r->o.map : by_dimensions)(name, x, bhw);
    item *made = NULL;
    if (map) {
        vv_real *turned = room(r, &r->turned, x->n, sizeof *turned);
        if (!turned) return;
        const int64_t pixels = bhw[0] * bhw[1] * bhw[2], C = pixels ? x->n / pixels : vv_last(x);
        turn(turned, v, bhw, C, 0);
        memcpy(dim, (int64_t[4]){bhw[0], C, bhw[1], bhw[2]}, sizeof dim);
        made = add_reals(r, kind, name, 4, dim, turned);
        if (r->o.resync) turn(v, turned, bhw, C, 1);
    } else {
        made = add_reals(r, kind, name, x->ndim, x->dim, v);
    }
    if (made) made->column_rms = columns;
    if (!r->o.resync || !live(r) || is_exact(kind)) return;
    vvb_upload(values, v, bytes);
    if (x->n > 1) vvb_round(values, x->n); /* what the tape rounds */
}

static void add_integers(vv_recorder *r, const char *kind, const char *name, const vv_tensor *x)
{
    int32_t *v = live(r) ? room(r, &r->host, x->n, sizeof *v) : NULL;
    if (!v) return;
    vvb_download(v, vv_i(x), x->n * (int64_t)sizeof *v);
    vv_record_host(r, kind, name, VV_DT_I32, x->ndim, x->dim, v);
}

static void scale_of_loss(vv_recorder *r, const char *name)
{
    if (live(r) && r->terms > 0) vv_record_mark(r, "loss", name, "scale", short_real(r->terms));
    r->terms = 0;
}

static void on_event(void *ctx, vv_event event, const vv_tensor *x)
{
    static const char *const kind_of[] = {"in", "act", "dact"};
    char name[VV_NAME_MAX];
    const int loss = x->ndim == 0 && !x->scope && event != VV_EVENT_IN; /* a scalar outside every module */
    if (!x->data || (loss && event == VV_EVENT_GRAD)) return;
    const char *kind = loss ? "loss" : kind_of[event];
    vv_name(x, name);
    const vv_recorder *r = ctx;
    if (r->o.lean && (event == VV_EVENT_GRAD || (strchr(name, '#') && event == VV_EVENT_ACT))) return;
    if (x->kind == VV_INTS) add_integers(ctx, kind, name, x);
    else add_tensor(ctx, kind, name, x, event == VV_EVENT_GRAD ? x->grad : vv_f(x));
    if (loss) scale_of_loss(ctx, name);
}

void vv_record_tape(vv_recorder *r, vv_tape *t)
{
    r->terms = 0;
    vv_trace(t, on_event, r);
}

vv_tensor *vv_record_dot(vv_recorder *r, vv_tape *t, vv_tensor *x, vv_tensor *w)
{
    vv_tensor *y = vv_dot(t, NULL, x, w);
    vv_real *a = y && x->data && live(r) ? room(r, &r->host, x->n, sizeof *a) : NULL;
    vv_real *b = a ? room(r, &r->turned, x->n, sizeof *b) : NULL;
    if (!b) return y;
    vvb_download(a, vv_f(x), x->n * (int64_t)sizeof *a);
    vvb_download(b, vv_f(w), x->n * (int64_t)sizeof *b);
    for (int64_t i = 0; i < x->n; i++) r->terms += fabs((double)a[i] * (double)b[i]);
    return y;
}

void vv_record_tensor(vv_recorder *r, const char *kind, const char *name, const vv_tensor *x, int gradient)
{
    add_tensor(r, kind, name, x, gradient ? x->grad : vv_f(x));
}

void vv_record_params(vv_recorder *r, const char *kind, const vv_params *ps)
{
    for (int64_t i = 0; i < ps->n; i++) add_tensor(r, kind, ps->at[i]->name, ps->at[i], vv_f(ps->at[i]));
}

/* The scale of a bias gradient: what came in at its Linear or norm, summed absolutely. */
static void scale_of_bias(vv_recorder *r, const char *name, const vv_tensor *bias)
{
    char module[VV_NAME_MAX];
    const size_t n = strlen(name), tail = strlen(".bias");
    if (n <= tail || strcmp(name + n - tail, ".bias")) return;
    snprintf(module, sizeof module, "%.*s", (int)(n - tail), name);
    const item *dact = find(r, "dact", module);
    if (dact && dact->column_rms > 0 && bias->ndim == 1)
        vv_record_mark(r, "dw", name, "scale", short_real(dact->column_rms));
}

void vv_record_gradients(vv_recorder *r, const vv_params *ps)
{
    for (int64_t i = 0; i < ps->n && live(r); i++) {
        if (!ps->at[i]->has_grad) continue;
        add_tensor(r, "dw", ps->at[i]->name, ps->at[i], ps->at[i]->grad);
        if (live(r)) scale_of_bias(r, ps->at[i]->name, ps->at[i]);
    }
}

/* ---- the file ------------------------------------------------------------------------------------------------------------------ */
void vv_record_task(vv_recorder *r, int update, const char *task)
{
    r->update = update;
    snprintf(r->task, sizeof r->task, "%s", task);
}

vv_status vv_record_status(const vv_recorder *r, vv_error *err)
{
    return live(r) ? VV_OK : vv_fail(err, r->err.status, "%s", r->err.msg);
}

void vv_record_fail(vv_recorder *r, const vv_error *why) { vv_fail(&r->err, why->status, "%s", why->msg); }

vv_status vv_record_begin(vv_recorder **out, const vv_record_options *o, vv_error *err)
{
    vv_recorder *r = *out = vv_calloc(1, sizeof *r);
    if (!r) return vv_no_memory(err, o->path);
    r->o = *o;
    vv_record_task(r, 1, "vision");
    vv_status s = (r->path = vv_strdup(o->path)) ? vv_spool_open(&r->spool, o->path, err) : vv_no_memory(err, o->path);
    if (s == VV_OK) return VV_OK;
    vv_record_abort(r);
    *out = NULL;
    return s;
}

/* index and sha256 of the metadata; NULL without memory */
static char *index_text(const vv_recorder *r)
{
    json_t *list = json_array();
    int ok = list != NULL;
    for (int64_t i = 0; i < r->n && ok; i++) ok = !json_array_append(list, r->item[i].entry);
    char *text = ok ? vv_json_text(list, JSON_COMPACT) : NULL;
    json_decref(list);
    return text;
}

static char *digests_text(const vv_recorder *r)
{
    json_t *object = json_object();
    int ok = object != NULL;
    for (int64_t i = 0; i < r->n && ok; i++)
        ok = !json_object_set_new(object, r->item[i].decl.name, json_string(r->item[i].sha));
    char *text = ok ? vv_json_text(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text;
}

static vv_status write_all(vv_recorder *r, const char *const *more, vv_error *err)
{
    char format[16], *index = index_text(r), *digests = digests_text(r);
    const char *meta[32] = {"versavit_golden",
                            format,
                            "precision",
                            VV_REAL_NAME,
                            r->o.resync ? "resync" : "sha256",
                            r->o.resync ? "layer" : digests,
                            "index",
                            index};
    int n = 8;
    snprintf(format, sizeof format, "%d", VV_GOLDEN_FORMAT);
    if (r->o.resync) {
        meta[n++] = "sha256";
        meta[n++] = digests;
    }
    for (const char *const *m = more; m && *m && n < 31; m++) meta[n++] = *m;
    vv_st_decl *decl = vv_calloc(r->n, sizeof *decl);
    const unsigned char *data = NULL;
    for (int64_t i = 0; decl && i < r->n; i++) decl[i] = r->item[i].decl;
    vv_status s = index && digests && decl ? vv_spool_map(&r->spool, &data, err) : vv_no_memory(err, r->path);
    if (s == VV_OK) s = vv_stw_open(&r->out, r->path, decl, r->n, meta, 0, err);
    for (int64_t i = 0; s == VV_OK && i < r->n; i++) s = vv_stw_write(r->out, i, data + r->item[i].offset, err);
    if (s == VV_OK) s = vv_stw_sync(r->out, err);
    free(decl);
    free(index);
    free(digests);
    return s;
}

vv_status vv_record_finish(vv_recorder *r, const char *const *meta, vv_error *err)
{
    VV_TRY(vv_record_status(r, err));
    return write_all(r, meta, err);
}

vv_status vv_record_commit(vv_recorder *r, vv_error *err)
{
    const vv_status s = vv_stw_commit(r->out, err);
    r->out = NULL;
    vv_record_abort(r);
    return s;
}

void vv_record_abort(vv_recorder *r)
{
    if (!r) return;
    vv_stw_abort(r->out);
    for (int64_t i = 0; i < r->n; i++) {
        free((char *)r->item[i].decl.name);
        json_decref(r->item[i].entry);
    }
    vv_spool_close(&r->spool);
    free(r->item);
    free(r->host.p);
    free(r->turned.p);
    free(r->coded.p);
    free(r->path);
    free(r);
}
