/* The cases of losses, heads, AdamW and whole updates against the naive loops of tests/oracle. */
#include "golden/made.h"
#include "loss/loss.h"
#include "oracle/oracle.h"

/* ---- losses, by the oracle -------------------------------------------------------------------------------------------------- */
static vvo_out room(int64_t n)
{
    return (vvo_out){vv_calloc(n + 1, sizeof(vvt_ref)), vv_calloc(n + 1, sizeof(vvt_ref))};
}

static void room_free(vvo_out x)
{
    free(x.v);
    free(x.g);
}

/* a x + b y of oracle values against what is recorded */
static void sum_agrees(const golden *g, const char *key, double a, vvo_out x, double b, vvo_out y, int64_t n,
                       double size)
{
    double *want = vv_calloc(n + 1, sizeof *want);
    for (int64_t i = 0; i < n; i++) want[i] = (double)(a * x.v[i] + b * y.v[i]);
    agrees(g, key, want, n, size);
    free(want);
}

/* loss: what stands before "ssi", "gm", "total"; dp: the gradient of total, or NULL. at: medians, or NULL for the oracle's */
static void check_depth(const golden *g, const char *p_key, const char *d_key, const char *mask_key, const char *loss,
                        const char *dp_key, const int32_t *medians, const json_t *how)
{
    const vv_st_entry *e = gf_at(g->st, d_key);
    const int64_t B = e->shape[0], N = e->shape[1] * e->shape[2], n = B * N;
    vv_depth_config c = vv_depth_config_default();
    if (how) VVT_OK(vv_depth_config_parse(&c, how, "how", err));
    const vvo_depth o = {c.how.align == VVB_ALIGN_LS,
                         (int)c.how.gm,
                         c.how.average,
                         c.how.image,
                         c.how.clamp,
                         c.how.detach,
                         c.how.scales,
                         c.how.trim,
                         c.how.eps};
    vv_real *p = reals(g, p_key), *d = reals(g, d_key);
    int32_t *mask = ints(g, mask_key), *at = vv_calloc(4 * B, sizeof *at);
    vvo_medians(at, p, d, mask, B, N);
    vvo_medians(at + 2 * B, d, d, mask, B, N);
    if (medians) memcpy(at, medians, (size_t)(4 * B) * sizeof *at);
    vvo_out ssi = room(1), gm = room(1), dp = room(n), more = room(n);
    vvo_ssi(ssi, dp, 1, p, d, mask, at, B, N, &o);
    vvo_gradient_matching(gm, more, 1, p, d, mask, at, B, e->shape[1], e->shape[2], &o);
    sum_agrees(g, keyf("%sssi", loss), 1, ssi, 0, ssi, 1, 1e-3);
    sum_agrees(g, keyf("%sgm", loss), 1, gm, 0, gm, 1, 1e-3);
    sum_agrees(g, keyf("%stotal", loss), c.lambda_ssi, ssi, c.lambda_gm, gm, 1, 1e-3);
    if (dp_key) sum_agrees(g, dp_key, c.lambda_ssi, dp, c.lambda_gm, more, n, 1e-9);
    free(p);
    free(d);
    free(mask);
    free(at);
    room_free(ssi);
    room_free(gm);
    room_free(dp);
    room_free(more);
}

static void check_masks(const golden *g, const char *x_key, const char *z_key, const char *loss, const char *dx_key,
                        const json_t *how)
{
    const vv_st_entry *e = gf_at(g->st, z_key);
    const int64_t R = e->shape[0], C = e->n / R;
    vv_seg_config c = vv_seg_config_default();
    if (how) VVT_OK(vv_seg_config_parse(&c, how, "how", err));
    vv_real *x = reals(g, x_key), *z = reals(g, z_key), *host = vv_calloc(2 * R, sizeof *host);
    const vv_real one = 1;
    vvo_out bce = room(1), dice = room(1), sums = room(2 * R), dx = room(e->n), more = room(e->n);
    vvo_bce_fwd(bce, x, z, R, C);
    vvo_dice_fwd(dice, sums, x, z, R, C, c.smooth);
    for (int64_t i = 0; i < 2 * R; i++) host[i] = (vv_real)sums.v[i];
    vvo_bce_bwd(dx, &one, x, z, R, C);
    vvo_dice_bwd(more, &one, x, z, host, R, C);
    sum_agrees(g, keyf("%sbce", loss), 1, bce, 0, bce, 1, 1e-3);
    sum_agrees(g, keyf("%sdice", loss), 1, dice, 0, dice, 1, 1e-3);
    sum_agrees(g, keyf("%stotal", loss), c.lambda_bce, bce, c.lambda_dice, dice, 1, 1e-3);
    sum_agrees(g, dx_key, c.lambda_bce, dx, c.lambda_dice, more, e->n, 1e-9);
    free(x);
    free(z);
    free(host);
    room_free(bce);
    room_free(dice);
    room_free(sums);
    room_free(dx);
    room_free(more);
}

static void check_ce(const golden *g, const char *name, int by_token)
{
    vv_real *hidden = reals(g, keyf("u1/losses/in/%s.hidden", name)),
            *table = reals(g, keyf("u1/losses/in/%s.table", name));
    int32_t *labels = ints(g, keyf("u1/losses/in/%s.labels", name)),
            *cu = ints(g, keyf("u1/losses/in/%s.cu_seqlens", name));
    const int64_t N = count(g, keyf("u1/losses/in/%s.labels", name)),
                  S = count(g, keyf("u1/losses/in/%s.cu_seqlens", name)) - 1;
    const int64_t V = gf_at(g->st, keyf("u1/losses/in/%s.table", name))->shape[0],
                  C = gf_at(g->st, keyf("u1/losses/in/%s.table", name))->shape[1];
    int32_t *target = vv_calloc(N, sizeof *target);
    vv_real *weight = vv_calloc(N, sizeof *weight), *wide = vv_calloc(N, sizeof *wide);
    double tokens = 0, sequences = 0; /* all rows predict something; those that do not have the weight 0 */
    for (int64_t s = 0; s < S; s++) {
        double n = 0;
        for (int64_t i = cu[s] + 1; i < cu[s + 1]; i++) n += labels[i] != VV_IGNORED;
        for (int64_t i = cu[s] + 1; i < cu[s + 1]; i++)
            if (labels[i] != VV_IGNORED) target[i - 1] = labels[i], weight[i - 1] = (vv_real)(by_token ? 1 : 1 / n);
        tokens += n;
        sequences += n > 0;
    }
    for (int64_t i = 0; i < N; i++) weight[i] /= (vv_real)fmax(1, by_token ? tokens : sequences);
    const vv_real one = 1;
    vvo_out loss = room(1), ce = room(N), lse = room(N), dx = room(N * C), dw = room(V * C);
    vvo_linear_cross_entropy_fwd(loss, ce, lse, hidden, table, target, weight, N, V, C);
    for (int64_t i = 0; i < N; i++) wide[i] = (vv_real)lse.v[i];
    vvo_linear_cross_entropy_bwd(dx, dw, &one, hidden, table, target, weight, wide, N, V, C);
    sum_agrees(g, keyf("u1/losses/loss/%s.total", name), 1, loss, 0, loss, 1, 1e-3);
    sum_agrees(g, keyf("u1/losses/dact/%s.hidden", name), 1, dx, 0, dx, N * C, 1e-9);
    sum_agrees(g, keyf("u1/losses/dact/%s.table", name), 1, dw, 0, dw, V * C, 1e-9);
    free(hidden), free(table), free(labels), free(cu), free(target), free(weight), free(wide);
    room_free(loss), room_free(ce), room_free(lse), room_free(dx), room_free(dw);
}

START_TEST(losses_equal_the_oracle)
{
    golden g = make("losses", "losses.safetensors", NULL);
    const json_t *list = json_object_get(g.root, "losses");
    int zero = 0;
    ck_assert_int_gt((int)json_array_size(list), 20);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *x = json_array_get(list, i), *how = json_object_get(x, "how");
        const char *n = json_string_value(json_object_get(x, "name")),
                   *loss = json_string_value(json_object_get(x, "loss")),
                   *reduction = json_string_value(json_object_get(x, "reduction"));
        if (!strcmp(loss, "ce")) check_ce(&g, n, reduction && !strcmp(reduction, "token"));
        if (!strcmp(loss, "depth")) {
            int32_t *at = ints(&g, keyf("u1/losses/act/%s#medians", n));
            check_depth(&g, keyf("u1/losses/in/%s.p", n), keyf("u1/losses/in/%s.d", n), keyf("u1/losses/in/%s.mask", n),
                        keyf("u1/losses/loss/%s.", n), keyf("u1/losses/dact/%s.p", n), NULL, how);
            free(at);
        }
        if (!strcmp(loss, "masks"))
            check_masks(&g, keyf("u1/losses/in/%s.x", n), keyf("u1/losses/in/%s.z", n), keyf("u1/losses/loss/%s.", n),
                        keyf("u1/losses/dact/%s.x", n), how);
        zero += strcmp(loss, "masks") && number(&g, keyf("u1/losses/loss/%s.total", n)) == 0;
    }
    ck_assert_int_ge(zero, 4); /* nothing to learn, no pixel, one pixel, a perfect prediction */
    close_golden(&g);
}
END_TEST

/* The other median is as legal, has the same loss, and another gradient at two pixels of each map. */
START_TEST(ties_have_alternatives)
{
    golden g = make("losses", "losses.safetensors", NULL);
    const char *dact = "u1/losses/dact/depth-tied.p", *alt = "u1/losses/alt/depth-tied.p";
    int32_t *at = ints(&g, "u1/losses/alt/depth-tied#medians"), *mine = ints(&g, "u1/losses/act/depth-tied#medians");
    const json_t *others = json_object_get(gf_entry(g.index, dact), "alternatives");
    ck_assert_str_eq(json_string_value(json_array_get(others, 0)), alt);
    ck_assert(json_object_get(gf_entry(g.index, "u1/losses/act/depth-tied#medians"), "alternatives") != NULL);
    double *p = gf_values(g.st, "u1/losses/in/depth-tied.p"), *x = gf_values(g.st, dact), *y = gf_values(g.st, alt);
    for (int b = 0; b < 2; b++) {
        int differ = 0;
        ck_assert_int_ne(at[2 * b], mine[2 * b]);
        ck_assert(p[35 * b + at[2 * b]] == p[35 * b + mine[2 * b]]);
        for (int i = 0; i < 35; i++) differ += fabs(x[35 * b + i] - y[35 * b + i]) > 1e-6;
        ck_assert_int_eq(differ, 2);
    }
    check_depth(&g, "u1/losses/in/depth-tied.p", "u1/losses/in/depth-tied.d", "u1/losses/in/depth-tied.mask",
                "u1/losses/loss/depth-tied.", alt, at, NULL);
    free(at), free(mine), free(p), free(x), free(y);
    close_golden(&g);
}
END_TEST

START_TEST(heads_losses_equal_the_oracle)
{
    golden g = make("depth-micro", "depth.safetensors", NULL);
    check_depth(&g, "u1/depth/act/depth_head.scratch.output_conv2.3", "u1/depth/in/disparity", "u1/depth/in/mask",
                "u1/depth/loss/", NULL, NULL, NULL);
    close_golden(&g);
    g = make("segmentation-micro", "segmentation.safetensors", NULL);
    check_masks(&g, "u1/segmentation/act/masks", "u1/segmentation/in/target", "u1/segmentation/loss/",
                "u1/segmentation/dact/masks", NULL);
    double *z = gf_values(g.st, "u1/segmentation/in/target"), *x = gf_values(g.st, "u1/segmentation/act/masks");
    int32_t *bits = ints(&g, "u1/segmentation/act/masks#bits");
    const vv_st_entry *e = gf_at(g.st, "u1/segmentation/in/target");
    int empty = 0, on = 0;
    for (int64_t p = 0; p < e->shape[0]; p++) {
        double sum = 0;
        for (int64_t i = 0; i < e->n / e->shape[0]; i++) sum += z[p * (e->n / e->shape[0]) + i];
        empty += sum == 0;
    }
    for (int64_t i = 0; i < e->n; i++) {
        ck_assert_int_eq(bits[i], x[i] > 0);
        on += bits[i];
    }
    ck_assert_int_eq(empty, 1);
    ck_assert(on > 0 && on < e->n);
    free(z), free(x), free(bits);
    close_golden(&g);
}
END_TEST

/* ---- updates ----------------------------------------------------------------------------------------------------------------- */
/* One parameter's step from the state, the gradient and the rate in the file, by the oracle. m_key NULL: no moments yet. */
static void check_step(const golden *g, int64_t t, const char *name, const char *w_key, const char *gradient, double lr,
                       double decay, double clip, int has_moments)
{
    const double beta1 = json_number_value(json_object_get(g->root, "beta1")),
                 beta2 = json_number_value(json_object_get(g->root, "beta2")),
                 eps = json_number_value(json_object_get(g->root, "eps"));
    const long long u = (long long)t;
    const int64_t n = count(g, w_key);
    vv_real *w = reals(g, w_key), *dw = reals(g, gradient);
    vv_real *m = has_moments ? reals(g, keyf("u%lld/update/m/%s", u, name)) : NULL,
            *v = has_moments ? reals(g, keyf("u%lld/update/v/%s", u, name)) : NULL;
    vvo_out after = room(n), om = room(n), ov = room(n);
    for (int64_t i = 0; i < n; i++) {
        after.v[i] = w[i];
        om.v[i] = m ? m[i] : 0;
        ov.v[i] = v ? v[i] : 0;
    }
    vvo_adamw(after, om, ov, dw, n, lr, beta1, beta2, eps, decay, clip, t);
    double *step = vv_calloc(n, sizeof *step), largest = 0;
    for (int64_t i = 0; i < n; i++) {
        step[i] = (double)((after.v[i] - w[i]) / lr);
        largest = fmax(largest, fabs((double)w[i]));
    }
    /* weights are rounded: of a step that is half a unit of the largest weight over the rate */
    const double rounding = largest * VV_U / lr / LIMIT;
    agrees(g, keyf("u%lld/update/dstep/%s", u, name), step, n, fmax(rounding, 1e-3));
    const vv_st_entry *after_m = vv_st_find(g->st, keyf("u%lld/update/act/%s#m", u, name));
    if (after_m) {
        sum_agrees(g, after_m->name, 1, om, 0, om, n, 1e-37);
        sum_agrees(g, keyf("u%lld/update/act/%s#v", u, name), 1, ov, 0, ov, n, 1e-37);
    }
    free(w), free(dw), free(m), free(v), free(step);
    room_free(after), room_free(om), room_free(ov);
}

static double square_sum(const golden *g, const char *key)
{
    double *v = gf_values(g->st, key), sum = 0;
    for (int64_t i = 0; i < count(g, key); i++) sum += v[i] * v[i];
    free(v);
    return sum;
}

START_TEST(adamw_equals_the_oracle)
{
    golden g = make("adamw", "adamw.safetensors", NULL);
    const json_t *updates = json_object_get(g.root, "updates"), *tensors = json_object_get(g.root, "tensors");
    int clipped = 0;
    for (size_t k = 0; k < json_array_size(updates); k++) {
        const json_t *u = json_array_get(updates, k);
        const long long t = json_integer_value(json_array_get(u, 0));
        const double most = json_number_value(json_array_get(u, 1));
        double sum = 0;
        for (size_t i = 0; i < json_array_size(tensors); i++) {
            const json_t *x = json_array_get(tensors, i);
            if (json_is_null(json_object_get(x, "gradient"))) continue;
            sum += square_sum(&g, keyf("u%lld/update/in/%s", t, json_string_value(json_object_get(x, "name"))));
        }
        const double norm = sqrt(sum), clip = most > 0 ? fmin(1, most / (norm + 1e-6)) : 1;
        agrees(&g, keyf("u%lld/update/loss/grad_norm", t), &norm, 1, 0);
        clipped += clip < 1;
        for (size_t i = 0; i < json_array_size(tensors); i++) {
            const json_t *x = json_array_get(tensors, i);
            const char *name = json_string_value(json_object_get(x, "name")), *w = keyf("u%lld/update/w/%s", t, name);
            const size_t vector = json_array_size(json_object_get(x, "shape")) == 1;
            const double lr = json_number_value(json_array_get(json_object_get(g.root, "lr"), vector)),
                         decay = json_number_value(json_array_get(json_object_get(g.root, "weight_decay"), vector));
            if (json_is_null(json_object_get(x, "gradient"))) {
                double *step = gf_values(g.st, keyf("u%lld/update/dstep/%s", t, name));
                for (int64_t j = 0; j < count(&g, w); j++) ck_assert(step[j] == 0);
                free(step);
                continue;
            }
            check_step(&g, t, name, w, keyf("u%lld/update/in/%s", t, name), lr, decay, clip, t > 1);
        }
    }
    ck_assert(clipped > 0 && clipped < (int)json_array_size(updates));
    close_golden(&g);
}
END_TEST

static int part_of(const char *name)
{
    static const char *const parts[] = {"visual.", "projector.", "model.", "depth_head.", "mask_head."};
    for (int k = 0; k < 5; k++)
        if (!strncmp(name, parts[k], strlen(parts[k]))) return k;
    return 2;
}

START_TEST(updates_follow_from_what_is_recorded)
{
    static const char *const tasks[] = {"caption", "depth", "segmentation"}, *const losses[] = {"ce", "total", "total"};
    golden g = make("updates", "updates.safetensors", NULL);
    const json_t *record = json_object_get(g.root, "record"), *gradients = json_object_get(g.root, "gradients");
    const double most = json_number_value(json_object_get(g.root, "max_grad_norm")),
                 decay = json_number_value(json_object_get(g.root, "weight_decay"));
    double lambda[3];
    int clipped = 0, steps = 0, sums = 0;
    for (int k = 0; k < 3; k++)
        lambda[k] = json_number_value(json_object_get(json_object_get(g.root, tasks[k]), "lambda"));
    for (size_t r = 0; r < json_array_size(record); r++) {
        const long long t = json_integer_value(json_array_get(record, r));
        char prefix[40];
        snprintf(prefix, sizeof prefix, "u%lld/update/dw/", t);
        double sum = 0, total = 0;
        int with_gradients = 0, found = 0;
        for (size_t i = 0; i < json_array_size(gradients); i++)
            with_gradients |= json_integer_value(json_array_get(gradients, i)) == t;
        for (int64_t i = 0; i < vv_st_count(g.st); i++)
            if (!strncmp(vv_st_at(g.st, i)->name, prefix, strlen(prefix)))
                sum += square_sum(&g, vv_st_at(g.st, i)->name), found++;
        ck_assert_int_eq(found > 0, with_gradients);
        for (int k = 0; k < 3; k++) total += lambda[k] * number(&g, keyf("u%lld/%s/loss/%s", t, tasks[k], losses[k]));
        const double norm = found ? sqrt(sum) : number(&g, keyf("u%lld/update/loss/grad_norm", t)),
                     clip = fmin(1, most / (norm + 1e-6));
        agrees(&g, keyf("u%lld/update/loss/grad_norm", t), &norm, 1, 0);
        agrees(&g, keyf("u%lld/update/loss/total", t), &total, 1, 0);
        clipped += clip < 1;
        double *lr = gf_values(g.st, keyf("u%lld/update/in/lr", t));
        for (int64_t i = 0; i < vv_st_count(g.st); i++) {
            const vv_st_entry *e = vv_st_at(g.st, i);
            const char *name = e->name + strlen(prefix);
            if (strncmp(e->name, prefix, strlen(prefix))) continue;
            check_step(&g, t, name, keyf("u%lld/update/w/%s", t, name), e->name, lr[part_of(name)],
                       e->ndim > 1 ? decay : 0, clip, t > 1);
            steps++;
            if (t > 1 || part_of(name) || strstr(name, "merger")) continue;
            double *own[3], *want = vv_calloc(e->n, sizeof *want);
            for (int k = 0; k < 3; k++) own[k] = gf_values(g.st, keyf("u1/%s/dw/%s", tasks[k], name));
            for (int64_t j = 0; j < e->n; j++)
                for (int k = 0; k < 3; k++) want[j] += lambda[k] * own[k][j];
            agrees(&g, e->name, want, e->n, 1e-3);
            for (int k = 0; k < 3; k++) free(own[k]);
            free(want);
            sums++;
        }
        free(lr);
    }
    ck_assert(clipped > 0 && clipped < 4);
    ck_assert_int_gt(steps, 400);
    ck_assert_int_gt(sums, 20);
    close_golden(&g);
}
END_TEST

/* The last update is a function of the state that stands in the file: started from there it has the same bits, without the ones between. */
START_TEST(updates_start_from_recorded_states)
{
    const char *keys[] = {"u10/update/dstep/projector.fc1.weight", "u3/update/dstep/mask_head.text_proj.weight",
                          "u10/caption/loss/ce", "u10/update/loss/grad_norm"},
               *state[] = {"u10/update/w/projector.fc1.weight", "u3/update/v/mask_head.text_proj.weight",
                           "u10/update/w/model.norm.weight", "u10/update/w/projector.fc1.weight"};
    golden g = make("updates", "first.safetensors", NULL),
           h = make("updates", "second.safetensors", vvt_path("first.safetensors"));
    ck_assert_int_eq(vv_st_count(g.st), vv_st_count(h.st));
    for (int64_t i = 0; i < vv_st_count(g.st); i++) gf_same(g.st, h.st, vv_st_at(g.st, i)->name);
    close_golden(&h);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) { /* and another state is another update */
        gf_scaled_copy(vvt_path("first.safetensors"), vvt_path("other.safetensors"), state[i], 1.5);
        h = make("updates", "third.safetensors", vvt_path("other.safetensors"));
        double *a = gf_values(g.st, keys[i]), *b = gf_values(h.st, keys[i]), d = 0;
        for (int64_t k = 0; k < count(&g, keys[i]); k++) d = fmax(d, fabs(a[k] - b[k]) / fmax(fabs(a[k]), 1e-3));
        ck_assert_msg(d > 1e-3, "%s does not depend on the state", keys[i]);
        free(a), free(b);
        close_golden(&h);
    }
    close_golden(&g);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("cases by the oracle", &tc);
    tcase_add_test(tc, losses_equal_the_oracle);
    tcase_add_test(tc, ties_have_alternatives);
    tcase_add_test(tc, heads_losses_equal_the_oracle);
    tcase_add_test(tc, adamw_equals_the_oracle);
    tcase_add_test(tc, updates_follow_from_what_is_recorded);
    tcase_add_test(tc, updates_start_from_recorded_states);
    return s;
}
VVT_MAIN(suite)
