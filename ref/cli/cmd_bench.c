#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/rng.h"
#include "cli/bench.h"
#include "model/versavit.h"
#include "optim/adamw.h"

static const cli_usage usage = {
    "bench [CASE...] [--json] [--repeat N] [--depth N]",
    "Measures speed, as a fraction of the matrix library's own product in the same process.",
    "sgemm is the best of 5 plain library products 1600x5120x1280 (A B^T) at the same number of threads, before and "
    "after the case.\n"
    "Cases (default: all but the long ones, tower_*, qwen_*, depth_*, mask_*, train_*):\n"
    "  tower_forward  1600 tokens, 1280 wide, 32 blocks and merger     tower_train  the same, forward and backward\n"
    "  tower_step     with AdamW (about 14 GiB)\n"
    "  vit_s_step     384 wide, 6 heads, 12 blocks, 8 x 196 tokens: forward, backward, AdamW\n"
    "  ci_vit_step    128 wide, 4 heads, 4 blocks, 4 x 64 tokens      micro_step   the micro configuration, 36 tokens\n"
    "  adamw          one update of 64 M parameters                    gemm_threads our tiles against the library's "
    "own threads\n"
    "  qwen_prefill   512 tokens through Qwen3-0.6B's shape            qwen_train   the same, with the loss and "
    "backward\n"
    "  qwen_decode    a token at a time, beside memory bandwidth       depth_forward, depth_train   DPT head, 532 x "
    "532\n"
    "  mask_forward, mask_train   segmentation head, 560 x 560, 8 instances\n"
    "  train_tiny, train_small   an update of stage 2 of these configurations: all three tasks, clipping, AdamW\n"
    "  startup        from the start of the program to the first operation, with the tiny model",
    "versavit bench vit_s_step ci_vit_step --json",
    0,
    -1};

double bench_least(double a, double b) { return a > 0 && a < b ? a : b; }

/* ---- products -------------------------------------------------------------------------------------------------------------- */
typedef struct {
    int64_t M, N, K;
    int backward; /* 0: x w^T; 1: dy w; 2: dy^T x */
} product;

vv_real *bench_operand(int64_t n)
{
    vv_real *p = vvb_alloc(n * (int64_t)sizeof *p), *host = vv_calloc(n, sizeof *host);
    for (int64_t i = 0; host && i < n; i++) host[i] = (vv_real)((i * 2654435761u >> 7) % 255) / 256 - (vv_real)0.5;
    if (p && host) vvb_upload(p, host, n * (int64_t)sizeof *p);
    free(host);
    return p;
}

/* seconds of one product, the best of n: ours (tiles) or the library's */
static double time_product(product s, int ours, int n)
{
    const int64_t bytes = (int64_t)sizeof(vv_real);
    vv_real *a = bench_operand(s.M * s.K), *b = bench_operand(s.N * s.K), *c = bench_operand(s.M * s.N);
    double best = 0;
    for (int r = 0; a && b && c && r < n; r++) {
        const double t0 = vv_seconds();
        if (!ours) vvb_library_product(c, a, b, s.M, s.N, s.K);
        else if (s.backward == 0) vvb_matmul(c, s.N, a, s.K, 0, b, s.K, 1, s.M, s.N, s.K, 1, 0);
        else if (s.backward == 1) vvb_matmul(c, s.N, a, s.K, 0, b, s.N, 0, s.M, s.N, s.K, 1, 0);
        else vvb_matmul(c, s.N, a, s.M, 1, b, s.N, 0, s.M, s.N, s.K, 1, 1);
        vvb_sync();
        best = bench_least(best, vv_seconds() - t0);
    }
    vvb_free(a, s.M * s.K * bytes);
    vvb_free(b, s.N * s.K * bytes);
    vvb_free(c, s.M * s.N * bytes);
    return best;
}

vv_status bench_fill(vv_params *ps, vv_error *err)
{
    for (int64_t p = 0; p < ps->n; p++) {
        const vv_tensor *x = ps->at[p];
        vv_real *v = vv_calloc(x->n, sizeof *v);
        if (!v) return vv_no_memory(err, x->name);
        for (int64_t i = 0; i < x->n; i++) /* uniform, with a deviation of 0.02 */
            v[i] = x->ndim < 2 ? 1 : ((vv_real)((i * 2654435761u >> 7) % 255) / 256 - (vv_real)0.5) * (vv_real)0.07;
        vvb_upload(x->data, v, x->n * (int64_t)sizeof *v);
        free(v);
    }
    return VV_OK;
}

static double sgemm_speed(void)
{
    const product p = {1600, 5120, 1280, 0};
    return 2.0 * (double)p.M * (double)p.N * (double)p.K / time_product(p, 0, 5);
}

/* mean over the tower's products, forward and backward, of library time over our time */
static vv_status gemm_threads(bench_result *r, const bench_settings *s, vv_error *err)
{
    static const product shapes[] = {{1600, 3840, 1280, 0}, {1600, 1280, 1280, 0}, {1600, 5120, 1280, 0},
                                     {1600, 1280, 5120, 0}, {1600, 1280, 3840, 1}, {1600, 1280, 1280, 1},
                                     {1600, 1280, 5120, 1}, {1600, 5120, 1280, 1}, {3840, 1280, 1600, 2},
                                     {1280, 1280, 1600, 2}, {5120, 1280, 1600, 2}, {1280, 5120, 1600, 2}};
    const int n = sizeof shapes / sizeof *shapes;
    double sum = 0;
    (void)err;
    for (int i = 0; i < n; i++) {
        const double ours = time_product(shapes[i], 1, (int)s->repeat),
                     library = time_product(shapes[i], 0, (int)s->repeat);
        sum += library / ours / n;
        r->seconds += ours;
        r->flops += 2.0 * (double)shapes[i].M * (double)shapes[i].N * (double)shapes[i].K;
        vv_progress("gemm_threads", i + 1, n);
    }
    r->extra = sum;
    r->extra_name = "of_library_threads";
    return VV_OK;
}

/* ---- towers ------------------------------------------------------------------------------------------------------------------ */
typedef enum { FORWARD, TRAIN, STEP } mode;

typedef struct {
    const char *name;
    mode mode;
    vv_vit_config config;
    int64_t pictures, grid_h, grid_w;
} tower_case;

#define CONFIG(C, heads, blocks, out)                                                                                  \
    {                                                                                                                  \
        .depth = blocks, .embed_dim = C, .hidden_size = out, .mlp_ratio = 4, .num_heads = heads, .in_channels = 3,     \
        .patch_size = 14, .temporal_patch_size = 2, .spatial_merge_size = 2, .hidden_act = VVB_GELU_QUICK,             \
        .initializer_range = 0.02, .rope_theta = 10000                                                                 \
    }

static const tower_case towers[] = {
    {"tower_forward", FORWARD, CONFIG(1280, 16, 32, 3584), 1, 40, 40},
    {"tower_train", TRAIN, CONFIG(1280, 16, 32, 3584), 1, 40, 40},
    {"tower_step", STEP, CONFIG(1280, 16, 32, 3584), 1, 40, 40},
    {"vit_s_step", STEP, CONFIG(384, 6, 12, 384), 8, 14, 14},
    {"ci_vit_step", STEP, CONFIG(128, 4, 4, 128), 4, 8, 8},
    {"micro_step", STEP, CONFIG(16, 2, 3, 32), 1, 6, 6},
};

typedef struct {
    const tower_case *c;
    vv_params params;
    vv_vit *vit;
    vv_grid *grid;
    vv_real *pixels, *cotangent;
    int64_t rows, width;
    vv_adamw *optimizer;
} tower;

/* one forward, or forward and backward, or a whole update */
static vv_status run_tower(tower *w, vv_tape *t, vv_error *err)
{
    const int64_t dim[2] = {w->rows, w->width}, merged[2] = {w->rows / 4, w->c->config.hidden_size};
    const vv_vit_wanted want = {.merged = 1};
    vv_tensor *x = vv_input(t, "pixel_values", VV_REALS, 2, dim, w->pixels);
    vv_tensor *y = vv_vit_forward(t, w->vit, x, w->grid, w->c->pictures, &want);
    if (w->c->mode != FORWARD) {
        vv_params_zero_grad(&w->params);
        vv_backward(t, vv_dot(t, "loss", y, vv_input(t, "cotangent", VV_REALS, 2, merged, w->cotangent)), 1);
    }
    VV_TRY(vv_tape_status(t, err));
    if (w->c->mode == STEP) VV_TRY(vv_adamw_step(w->optimizer, 1, NULL, err));
    vvb_sync();
    return VV_OK;
}

static vv_status set_up(tower *w, const tower_case *c, const bench_settings *s, vv_error *err)
{
    vv_vit_config config = c->config;
    const vv_adamw_group group = vv_adamw_default();
    if (s->depth) config.depth = s->depth;
    w->c = c;
    w->rows = c->pictures * c->grid_h * c->grid_w;
    w->width = 3 * 2 * 14 * 14;
    VV_TRY(vv_vit_new(&w->vit, &w->params, &config, err));
    VV_TRY(vv_vit_init(w->vit, 1, err));
    w->grid = vv_calloc(c->pictures, sizeof *w->grid);
    w->pixels = vv_calloc(w->rows * w->width, sizeof *w->pixels);
    w->cotangent = vv_calloc(w->rows / 4 * config.hidden_size, sizeof *w->cotangent);
    if (!w->grid || !w->pixels || !w->cotangent) return vv_no_memory(err, c->name);
    for (int64_t i = 0; i < c->pictures; i++) w->grid[i] = (vv_grid){1, c->grid_h, c->grid_w};
    for (int64_t i = 0; i < w->rows * w->width; i++) w->pixels[i] = (vv_real)vv_random_normal(2, 1, (uint64_t)i);
    for (int64_t i = 0; i < w->rows / 4 * config.hidden_size; i++)
        w->cotangent[i] = (vv_real)vv_random_normal(2, 2, (uint64_t)i);
    return vv_adamw_new(&w->optimizer, &w->params, &group, 1, NULL, NULL, err);
}

static vv_status time_tower(bench_result *r, const tower_case *c, const bench_settings *s, vv_error *err)
{
    tower w = {0};
    vv_status st = set_up(&w, c, s, err);
    vv_tape *t = vv_tape_new(st == VV_OK ? &w.params : NULL, c->mode == FORWARD ? 0 : VV_RECORD);
    if (!t && st == VV_OK) st = vv_no_memory(err, c->name);
    int64_t runs = s->repeat + 1; /* the first one pays for the memory */
    for (int64_t i = 0; st == VV_OK && i < runs; i++) {
        const double t0 = vv_seconds();
        st = run_tower(&w, t, err);
        const double seconds = vv_seconds() - t0;
        if (i == 0 && seconds < 0.05 * (double)runs)
            runs = (int64_t)((double)s->repeat * 0.3 / seconds) + 2; /* short ones more often */
        if (i) r->seconds = bench_least(r->seconds, seconds);
        const vv_memory *m = vv_tape_memory(t);
        r->flops = m->flops_forward + m->flops_backward;
        r->peak_bytes = w.params.peak + w.optimizer->bytes + m->activations_peak + m->gradients_peak;
        vv_tape_reset(t);
        vv_progress(c->name, i + 1, runs);
    }
    vv_tape_free(t);
    vv_adamw_free(w.optimizer);
    vv_vit_free(w.vit);
    vv_params_free(&w.params);
    free(w.grid);
    free(w.pixels);
    free(w.cotangent);
    return st;
}

/* ---- the optimizer, the start ------------------------------------------------------------------------------------------------- */
static vv_status time_adamw(bench_result *r, const bench_settings *s, vv_error *err)
{
    const int64_t n = 64 << 20, bytes = n * (int64_t)sizeof(vv_real);
    vv_real *x[4];
    for (int k = 0; k < 4; k++) x[k] = bench_operand(n);
    if (x[0] && x[1] && x[2] && x[3]) {
        vvb_zero(x[1], bytes);
        vvb_zero(x[2], bytes);
        for (int64_t i = 0; i <= s->repeat; i++) {
            const vvb_adamw_args a = {1e-3, 0.9, 0.999, 1e-8, 1e-2, 1, i + 1};
            const double t0 = vv_seconds();
            vvb_adamw(x[0], x[1], x[2], x[3], n, &a);
            vvb_sync();
            if (i) r->seconds = bench_least(r->seconds, vv_seconds() - t0);
        }
    } else {
        (void)vv_no_memory(err, "adamw");
    }
    for (int k = 0; k < 4; k++) vvb_free(x[k], bytes);
    r->flops = 14.0 * (double)n;
    r->peak_bytes = 4 * bytes;
    r->extra = 1e9 * r->seconds / (double)n;
    r->extra_name = "ns_per_parameter";
    return err->status;
}

/* what the child does: load, and one operation */
static vv_status first_operation(const char *dir, vv_error *err)
{
    vv_model m = {0};
    VV_TRY(vv_model_load(&m, dir, VV_VISION, err));
    const vv_tensor *w = m.vit->merger_2.weight;
    vv_real *y = vvb_alloc((int64_t)sizeof *y);
    if (y) vvb_dot(y, vv_f(w), NULL, w->n);
    vvb_free(y, (int64_t)sizeof *y);
    vv_model_free(&m);
    const char *what = vvb_error();
    return what ? vv_fail(err, VV_MEMORY, "%s", what) : VV_OK;
}

static double time_child(const char *dir)
{
    const double t0 = vv_seconds();
    const pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "versavit", "bench", "--first-operation", dir, (char *)NULL);
        _exit(127);
    }
    int status = 1;
    if (child < 0 || waitpid(child, &status, 0) < 0 || status) return -1;
    return vv_seconds() - t0;
}

static vv_status time_startup(bench_result *r, const bench_settings *s, vv_error *err)
{
    char dir[] = "/tmp/versavit-bench-XXXXXX";
    vv_model m = {0};
    char *config = cli_data_file("configs", "tiny");
    if (!config || !mkdtemp(dir)) {
        free(config);
        return vv_fail(err, VV_FILE, "%s: cannot be made", dir);
    }
    vv_status st = vv_model_from_config(&m, config, VV_VISION, err);
    if (st == VV_OK) st = vv_vit_init(m.vit, 1, err);
    if (st == VV_OK) st = vv_model_save(&m, dir, VV_DT_F32, 0, err);
    for (int64_t i = 0; st == VV_OK && i <= s->repeat; i++) {
        const double seconds = time_child(dir);
        if (seconds < 0) st = vv_fail(err, VV_FILE, "startup: the program cannot be started again");
        else r->seconds = bench_least(r->seconds, seconds);
    }
    static const char *const files[] = {"config.json", "preprocessor_config.json", "model.safetensors"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = vv_asprintf("%s/%s", dir, files[i]);
        if (path) (void)unlink(path);
        free(path);
    }
    (void)rmdir(dir);
    free(config);
    vv_model_free(&m);
    return st;
}

/* ---- all ---------------------------------------------------------------------------------------------------------------------- */
static vv_status run_case(bench_result *r, const bench_settings *s, vv_error *err)
{
    for (size_t i = 0; i < sizeof towers / sizeof *towers; i++)
        if (!strcmp(r->name, towers[i].name)) return time_tower(r, &towers[i], s, err);
    int known = 0;
    const vv_status st = bench_language(&known, r, s, err);
    if (known) return st;
    const vv_status heads = bench_heads(&known, r, s, err);
    if (known) return heads;
    const vv_status train = bench_train(&known, r, s, err);
    if (known) return train;
    if (!strcmp(r->name, "adamw")) return time_adamw(r, s, err);
    if (!strcmp(r->name, "gemm_threads")) return gemm_threads(r, s, err);
    if (!strcmp(r->name, "startup")) return time_startup(r, s, err);
    return vv_fail(err, VV_USAGE, "bench: %s: expected one of the cases that versavit bench --help lists", r->name);
}

static void print(const bench_result *r, json_t *list)
{
    const vvb_info *info = vvb_get_info();
    if (list) {
        json_t *o =
            json_pack("{s:s, s:f, s:f, s:f, s:f, s:I, s:s, s:s, s:i}", "case", r->name, "seconds", r->seconds, "gflops",
                      r->flops / r->seconds * 1e-9, "sgemm_gflops", r->sgemm * 1e-9, "fraction_of_sgemm",
                      r->flops / r->seconds / r->sgemm, "peak_bytes", (json_int_t)r->peak_bytes, "blas_core",
                      info->core, "product", info->product, "threads", info->threads);
        if (o && r->extra_name) json_object_set_new(o, r->extra_name, json_real(r->extra));
        json_array_append_new(list, o);
        return;
    }
    cli_line();
    printf("%-14s %10.3f ms %9.1f GFLOP/s  %5.1f %% of sgemm (%.1f)  %9.1f MiB", r->name, 1e3 * r->seconds,
           r->flops / r->seconds * 1e-9, 100 * r->flops / r->seconds / r->sgemm, r->sgemm * 1e-9,
           (double)r->peak_bytes / 1048576);
    if (r->extra_name) printf("  %s %.3f", r->extra_name, r->extra);
    printf("\n");
    fflush(stdout);
}

static vv_status run(char *const *name, int n, const bench_settings *s, json_t *list, vv_error *err)
{
    if (!list && !cli_quiet)
        printf("%s, core %s, %d threads, %s\n", vvb_get_info()->product, vvb_get_info()->core, vvb_get_info()->threads,
               VV_REAL_NAME);
    for (int i = 0; i < n; i++) {
        bench_result r = {.name = name[i]};
        const double before = sgemm_speed();
        VV_TRY(run_case(&r, s, err));
        const double after = sgemm_speed();
        const char *what = vvb_error();
        if (what) return vv_fail(err, VV_MEMORY, "%s: %s", r.name, what);
        r.sgemm = before > after ? before : after;
        print(&r, list);
    }
    return VV_OK;
}

int cmd_bench(int argc, char **argv)
{
    static char *const usual[] = {"gemm_threads", "adamw", "vit_s_step", "ci_vit_step", "micro_step", "startup"};
    bench_settings s = {.repeat = 5};
    int json = 0;
    const char *child = NULL;
    const cli_option options[] = {
        {"json", 'j', NULL, "results as JSON", NULL, NULL, NULL, &json},
        {"repeat", 'r', "N", "runs, of which the best counts (default 5)", NULL, &s.repeat, NULL, NULL},
        {"depth", 0, "N", "another number of blocks for the towers", NULL, &s.depth, NULL, NULL},
        {"record", 0, "FILE", "of train_*: batches, weights and losses, as safetensors", &s.record, NULL, NULL, NULL},
        {"first-operation", 0, "DIR", "what startup measures: load DIR, one operation, end", &child, NULL, NULL, NULL},
        {0}};
    char **args;
    int n, status;
    if (!cli_parse(argc, argv, &usage, options, &args, &n, &status)) return status;
    vv_error err = {0};
    if (child) return cli_end(first_operation(child, &err), &err);
    json_t *list = json ? json_array() : NULL;
    vv_status st = s.repeat < 1 ? vv_fail(&err, VV_USAGE, "--repeat: expected at least 1; found 0") : VV_OK;
    if (st == VV_OK) st = n ? run(args, n, &s, list, &err) : run(usual, sizeof usual / sizeof *usual, &s, list, &err);
    char *text = list && st == VV_OK ? vv_json_text(list, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) : NULL;
    if (text) puts(text);
    else if (list && st == VV_OK) st = vv_no_memory(&err, "json");
    free(text);
    json_decref(list);
    return cli_end(st, &err);
}
