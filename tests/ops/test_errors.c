/* Wrong shapes: VV_USAGE, and one line that names the tensor with its scopes, the operation and the shapes on both sides. The
 * tape stays in error: later operations return NULL and the first message is kept; after vv_tape_reset it works again. */
#include "ops/ops.h"
#include "vvt_check.h"

/* inputs of the cases, named by their shapes */
typedef struct {
    vv_tensor *s5x7, *s5x6, *s6x7, *s7, *s6, *s9x18, *s9x20;
    vv_tensor *weight, *qkv; /* parameters, [5,7] and [9,18] */
} inputs;

typedef struct {
    const char *operation;
    vv_tensor *(*build)(vv_tape *t, const inputs *in);
    const char *words[3]; /* that the message has besides name and operation */
} error_case;

static const int32_t POS[18], NEGATIVE[] = {0, -1}, BEYOND[] = {0, 5}, SHORT[] = {0, 8}, LATE[] = {1, 9},
                              BACK[] = {0, 7, 5, 9}, ALL[] = {0, 9};

static const double ONES[] = {1, 1, 1, 1, 1};

static vv_tensor *linear_width(vv_tape *t, const inputs *in)
{
    return vv_linear(t, "y", in->s5x6, in->s6x7, NULL, NULL);
}
static vv_tensor *linear_bias(vv_tape *t, const inputs *in)
{
    return vv_linear(t, "y", in->s5x7, in->s6x7, in->s7, NULL);
}
static vv_tensor *linear_residual(vv_tape *t, const inputs *in)
{
    return vv_linear(t, "y", in->s5x7, in->s6x7, in->s6, in->s5x7);
}
static vv_tensor *layernorm_weight(vv_tape *t, const inputs *in)
{
    return vv_layernorm(t, "y", in->s5x7, in->s6, in->s7, 1e-6);
}
static vv_tensor *layernorm_bias(vv_tape *t, const inputs *in)
{
    return vv_layernorm(t, "y", in->s5x7, in->s7, in->s6, 1e-6);
}
static vv_tensor *add_width(vv_tape *t, const inputs *in) { return vv_add(t, "y", in->s5x7, in->s6); }
static vv_tensor *add_rows(vv_tape *t, const inputs *in) { return vv_add(t, "y", in->s5x7, in->s6x7); }
static vv_tensor *rope_rows(vv_tape *t, const inputs *in)
{
    return vv_rope(t, "y", in->s5x7, vv_rope_table(t, POS, 9, 1, 2, 100), 1);
}
static vv_tensor *rope_heads(vv_tape *t, const inputs *in)
{
    return vv_rope(t, "y", in->s9x18, vv_rope_table(t, POS, 9, 1, 4, 100), 5);
}
static vv_tensor *rope_weight(vv_tape *t, const inputs *in)
{
    return vv_rope(t, "y", in->weight, vv_rope_table(t, POS, 5, 1, 2, 100), 1);
}
static vv_tensor *attention_heads(vv_tape *t, const inputs *in)
{
    return vv_attention(t, "y", in->s9x20, NULL, NULL,
                        &(vvb_attention_args){.cu_q = ALL, .S = 1, .H = 2, .Hkv = 2, .scale = 1});
}
static vv_tensor *attention_weight(vv_tape *t, const inputs *in)
{
    return vv_attention(t, "y", in->qkv, NULL, NULL,
                        &(vvb_attention_args){.cu_q = ALL, .S = 1, .H = 2, .Hkv = 2, .scale = 1});
}
static vv_tensor *attention_short(vv_tape *t, const inputs *in)
{
    return vv_attention(t, "y", in->s9x18, NULL, NULL,
                        &(vvb_attention_args){.cu_q = SHORT, .S = 1, .H = 2, .Hkv = 2, .scale = 1});
}
static vv_tensor *attention_late(vv_tape *t, const inputs *in)
{
    return vv_attention(t, "y", in->s9x18, NULL, NULL,
                        &(vvb_attention_args){.cu_q = LATE, .S = 1, .H = 2, .Hkv = 2, .scale = 1});
}
static vv_tensor *attention_back(vv_tape *t, const inputs *in)
{
    return vv_attention(t, "y", in->s9x18, NULL, NULL,
                        &(vvb_attention_args){.cu_q = BACK, .S = 3, .H = 2, .Hkv = 2, .scale = 1});
}
static vv_tensor *dot_size(vv_tape *t, const inputs *in) { return vv_dot(t, "y", in->s5x7, in->s5x6); }
static vv_tensor *dot_weight(vv_tape *t, const inputs *in) { return vv_dot(t, "y", in->s5x7, in->weight); }
static vv_tensor *unit_rows_width(vv_tape *t, const inputs *in) { return vv_unit_rows(t, "y", in->s5x7, 8); }
static vv_tensor *rmsnorm_width(vv_tape *t, const inputs *in) { return vv_rmsnorm(t, "y", in->s5x7, in->s6, 1e-6); }
static vv_tensor *silu_mul_shape(vv_tape *t, const inputs *in) { return vv_silu_mul(t, "y", in->s5x7, in->s5x6); }
static vv_tensor *silu_mul_self(vv_tape *t, const inputs *in) { return vv_silu_mul(t, "y", in->s5x7, in->s5x7); }
static vv_tensor *merge_width(vv_tape *t, const inputs *in)
{
    return vv_merge_rows(t, "y", in->s5x7, POS, in->s5x6, POS);
}
static vv_tensor *cross_entropy_width(vv_tape *t, const inputs *in)
{
    return vv_linear_cross_entropy(t, "y", in->s5x6, in->s6x7, POS, ONES, 5, NULL);
}
static vv_tensor *cross_entropy_targets(vv_tape *t, const inputs *in)
{
    return vv_linear_cross_entropy(t, "y", in->s5x7, in->s6x7, POS, ONES, 4, NULL);
}
/* maps and kernels, from the first numbers of x */
static vv_tensor *four(vv_tape *t, vv_tensor *x, int64_t a, int64_t b, int64_t c, int64_t d)
{
    const int64_t dim[] = {a, b, c, d};
    return vv_alias(t, "map", x, 4, dim);
}
static vv_tensor *conv_channels(vv_tape *t, const inputs *in)
{
    return vv_conv2d(t, "y", four(t, in->s9x20, 1, 3, 5, 4), four(t, in->s9x18, 2, 3, 3, 3), NULL, 1, 1);
}
static vv_tensor *conv_axes(vv_tape *t, const inputs *in)
{
    return vv_conv2d(t, "y", in->s9x20, four(t, in->s9x18, 2, 3, 3, 3), NULL, 1, 1);
}
static vv_tensor *conv_bias(vv_tape *t, const inputs *in)
{
    return vv_conv2d(t, "y", four(t, in->s9x20, 1, 4, 5, 3), four(t, in->s9x18, 2, 3, 3, 3), in->s7, 1, 1);
}
static vv_tensor *conv_stride(vv_tape *t, const inputs *in)
{
    return vv_conv2d(t, "y", four(t, in->s9x20, 1, 4, 5, 3), four(t, in->s9x18, 2, 3, 3, 3), NULL, 0, 1);
}
static vv_tensor *conv_pad(vv_tape *t, const inputs *in)
{
    return vv_conv2d(t, "y", four(t, in->s9x20, 1, 4, 5, 3), four(t, in->s9x18, 2, 3, 3, 3), NULL, 1, -1);
}
static vv_tensor *conv_kernel(vv_tape *t, const inputs *in)
{
    return vv_conv2d(t, "y", four(t, in->s9x20, 1, 2, 5, 3), four(t, in->s9x18, 2, 3, 5, 3), NULL, 1, 1);
}
static vv_tensor *conv_transpose_square(vv_tape *t, const inputs *in)
{
    return vv_conv_transpose2d(t, "y", four(t, in->s9x20, 1, 4, 5, 3), four(t, in->s9x18, 3, 2, 3, 2), NULL);
}
static vv_tensor *conv_transpose_channels(vv_tape *t, const inputs *in)
{
    return vv_conv_transpose2d(t, "y", four(t, in->s9x20, 1, 4, 5, 3), four(t, in->s9x18, 2, 3, 2, 2), NULL);
}
static vv_tensor *conv_transpose_bias(vv_tape *t, const inputs *in)
{
    return vv_conv_transpose2d(t, "y", four(t, in->s9x20, 1, 4, 5, 3), four(t, in->s9x18, 3, 2, 2, 2), in->s6);
}
static vv_tensor *resize_axes(vv_tape *t, const inputs *in) { return vv_resize_bilinear(t, "y", in->s5x7, 3, 3, 1); }
static vv_tensor *resize_size(vv_tape *t, const inputs *in)
{
    return vv_resize_bilinear(t, "y", four(t, in->s9x20, 1, 4, 5, 3), 3, 0, 0);
}
static vv_tensor *resize_nothing(vv_tape *t, const inputs *in)
{
    return vv_resize_bilinear(t, "y", four(t, in->s9x20, 1, 0, 5, 3), 3, 3, 0);
}
static vv_tensor *batched_axes(vv_tape *t, const inputs *in) { return vv_batched_matmul(t, "y", in->s5x7, in->s6x7); }
static vv_tensor *batched_width(vv_tape *t, const inputs *in)
{
    const int64_t a[] = {2, 3, 4}, b[] = {2, 4, 3};
    return vv_batched_matmul(t, "y", vv_alias(t, "a", in->s9x20, 3, a), vv_alias(t, "b", in->s9x18, 3, b));
}
static vv_tensor *view_size(vv_tape *t, const inputs *in)
{
    const int64_t dim[] = {6, 6};
    return vv_view(t, "y", in->s5x7, 2, dim);
}

static const error_case CASES[] = {
    {"linear", linear_width, {"x [5,6]", "w [6,7]"}},
    {"linear", linear_bias, {"w [6,7]", "b [7]"}},
    {"linear", linear_residual, {"x [5,7]", "w [6,7]", "residual [5,7]"}},
    {"layernorm", layernorm_weight, {"x [5,7]", "w [6]"}},
    {"layernorm", layernorm_bias, {"x [5,7]", "b [6]"}},
    {"add", add_width, {"x [5,7]", "b [6]"}},
    {"add", add_rows, {"x [5,7]", "b [6,7]"}},
    {"rope", rope_rows, {"x [5,7]", "table [9,1]"}},
    {"rope", rope_heads, {"x [9,18]", "table [9,2]"}},
    {"rope", rope_weight, {"x [5,7]", "activation"}},
    {"attention", attention_heads, {"qkv [9,20]", "heads"}},
    {"attention", attention_weight, {"qkv [9,18]", "activation"}},
    {"attention", attention_short, {"qkv [9,18]", "segments"}},
    {"attention", attention_late, {"qkv [9,18]", "segments"}},
    {"attention", attention_back, {"qkv [9,18]", "segments"}},
    {"dot", dot_size, {"x [5,7]", "w [5,6]"}},
    {"dot", dot_weight, {"x [5,7]", "w [5,7]", "constant"}},
    {"unit_rows", unit_rows_width, {"x [5,7]"}},
    {"rmsnorm", rmsnorm_width, {"x [5,7]", "w [6]"}},
    {"silu_mul", silu_mul_shape, {"g [5,7]", "u [5,6]"}},
    {"silu_mul", silu_mul_self, {"g [5,7]", "two tensors"}},
    {"merge_rows", merge_width, {"a [5,7]", "b [5,6]"}},
    {"linear_cross_entropy", cross_entropy_width, {"x [5,6]", "w [6,7]", "targets [5]"}},
    {"linear_cross_entropy", cross_entropy_targets, {"x [5,7]", "w [6,7]", "targets [4]"}},
    {"conv2d", conv_channels, {"x [1,3,5,4]", "w [2,3,3,3]"}},
    {"conv2d", conv_axes, {"x [9,20]", "w [2,3,3,3]", "x [B,H,W,Ci]"}},
    {"conv2d", conv_bias, {"w [2,3,3,3]", "b [7]"}},
    {"conv2d", conv_stride, {"x [1,4,5,3]", "w [2,3,3,3]", "stride,pad [0,1]"}},
    {"conv2d", conv_pad, {"x [1,4,5,3]", "w [2,3,3,3]", "stride,pad [1,-1]"}},
    {"conv2d", conv_kernel, {"x [1,2,5,3]", "w [2,3,5,3]", "stride,pad [1,1]"}},
    {"conv_transpose2d", conv_transpose_square, {"x [1,4,5,3]", "w [3,2,3,2]"}},
    {"conv_transpose2d", conv_transpose_channels, {"x [1,4,5,3]", "w [2,3,2,2]"}},
    {"conv_transpose2d", conv_transpose_bias, {"w [3,2,2,2]", "b [6]"}},
    {"resize_bilinear", resize_axes, {"x [5,7]", "size [3,3]"}},
    {"resize_bilinear", resize_size, {"x [1,4,5,3]", "size [3,0]"}},
    {"resize_bilinear", resize_nothing, {"x [1,0,5,3]", "size [3,3]"}},
    {"batched_matmul", batched_axes, {"a [5,7]", "b [6,7]"}},
    {"batched_matmul", batched_width, {"a [2,3,4]", "b [2,4,3]"}},
    {"view", view_size, {"x [5,7]", "y [6,6]"}},
};

/* ---- the tape of a case ------------------------------------------------------------------------------------------------- */
static vv_params params;
static vv_tape *tape;
static inputs in;

static vv_tensor *input(const char *name, int64_t rows, int64_t cols)
{
    const int64_t dim[2] = {rows, cols};
    vv_real host[200] = {0};
    return vv_input(tape, name, VV_REALS, rows ? 2 : 1, rows ? dim : dim + 1, host);
}

static void fill_tape(void)
{
    in = (inputs){input("a", 5, 7),  input("b", 5, 6),  input("c", 6, 7), input("d", 0, 7), input("e", 0, 6),
                  input("f", 9, 18), input("g", 9, 20), params.at[0],     params.at[1]};
    vv_enter(tape, "visual", -1);
    vv_enter(tape, "blocks", 3);
    vv_enter(tape, "attn", -1);
}

static void setup(void)
{
    static const int64_t dim[2][2] = {{5, 7}, {9, 18}};
    vv_error err = {0};
    for (int i = 0; i < 2; i++) {
        vv_tensor *x = vv_param_new(&params, i ? "qkv" : "weight", 2, dim[i], &err);
        ck_assert_ptr_nonnull(x);
        vvb_zero(x->data, x->n * (int64_t)sizeof(vv_real));
    }
    tape = vv_tape_new(&params, VV_RECORD);
    fill_tape();
}

static void teardown(void)
{
    vv_tape_free(tape);
    vv_params_free(&params);
}

/* The tape has this error, and nothing moves it. */
static void expect_stuck(const char *name, const char *operation, const char *const words[3])
{
    vv_error first = {0}, later = {0};
    const vv_status s = vv_tape_status(tape, &first);
    vvt_expect_error(&first, s, VV_USAGE, name, operation, words[0] ? words[0] : "", words[1] ? words[1] : "",
                     words[2] ? words[2] : "", (const char *)NULL);
    const int64_t dim[] = {7, 5};
    ck_assert_ptr_null(vv_gelu(tape, "later", in.s5x7, VVB_GELU_ERF));
    ck_assert_ptr_null(vv_view(tape, "later", in.s5x7, 2, dim));
    ck_assert_ptr_null(vv_add(tape, "later", in.s5x7, in.s6)); /* wrong too: not reported */
    ck_assert_ptr_null(vv_input(tape, "later", VV_REALS, 2, dim, NULL));
    vv_leave(tape);
    vv_backward(tape, NULL, 1);
    ck_assert_int_eq(vv_tape_status(tape, &later), VV_USAGE);
    ck_assert_str_eq(first.msg, later.msg);
}

START_TEST(wrong_shapes)
{
    const error_case *c = &CASES[_i];
    char operation[40];
    snprintf(operation, sizeof operation, ": %s: expected ", c->operation);
    ck_assert_ptr_null(c->build(tape, &in));
    expect_stuck("visual.blocks.3.attn.y", operation, c->words);
    vv_tape_reset(tape);
    fill_tape();
    ck_assert_ptr_nonnull(vv_gelu(tape, "y", in.s5x7, VVB_GELU_ERF));
    ck_assert_int_eq(vv_tape_status(tape, NULL), VV_OK);
}
END_TEST

/* The inputs' own name: the place of a wrong index is told, the output does not exist yet. */
START_TEST(wrong_indices)
{
    static const char *const negative[3] = {"from 0 to 4", "got -1", "place 1"}, *const beyond[3] = {"from 0 to 4",
                                                                                                     "got 5"};
    vv_tensor *x = vv_gelu(tape, "x", in.s5x7, VVB_GELU_ERF);
    ck_assert_ptr_null(vv_gather_rows(tape, "y", x, _i ? BEYOND : NEGATIVE, 2));
    expect_stuck("visual.blocks.3.attn.x", ": gather_rows: expected ", _i ? beyond : negative);
}
END_TEST

/* The place in its table of an index or a target that is beyond, negative or there twice. */
START_TEST(wrong_places)
{
    static const int32_t first[] = {4, 3, 2, 1, 0}, a[3][5] = {{0, 1, 2, 3, 11}, {0, 1, -1, 3, 4}, {0, 1, 2, 3, 4}},
                         b[] = {5, 6, 7, 8, 4, 10};
    static const char *const words[3][3] = {{"once", "0 to 10", "got 11 at place 4 of a"},
                                            {"once", "0 to 10", "got -1 at place 2 of a"},
                                            {"once", "0 to 10", "got 4 at place 4 of b"}};
    ck_assert_ptr_nonnull(vv_merge_rows(tape, "y", in.s5x7, first, in.s6x7, (const int32_t[]){5, 6, 7, 8, 9, 10}));
    ck_assert_ptr_null(vv_merge_rows(tape, "y", in.s5x7, a[_i], in.s6x7, b));
    expect_stuck("visual.blocks.3.attn.y", ": merge_rows: expected ", words[_i]);
}
END_TEST

START_TEST(wrong_targets)
{
    static const int32_t target[2][5] = {{0, 5, 3, 6, 1}, {0, 5, 3, -100, 1}};
    static const char *const words[2][3] = {{"from 0 to 5", "got 6 at place 3"},
                                            {"from 0 to 5", "got -100 at place 3"}};
    vv_tensor *ce = NULL;
    ck_assert_ptr_null(vv_linear_cross_entropy(tape, "y", in.s5x7, in.s6x7, target[_i], ONES, 5, &ce));
    ck_assert_ptr_null(ce);
    expect_stuck("visual.blocks.3.attn.y", ": linear_cross_entropy: expected ", words[_i]);
}
END_TEST

START_TEST(wrong_table)
{
    static const char *const words[3] = {"divisible by 4", "got 6"};
    const vv_rope_angles a = vv_rope_table(tape, POS, 5, 2, 6, 100);
    ck_assert(!a.cos && !a.sin);
    ck_assert_ptr_null(vv_rope(tape, "y", in.s5x7, a, 1));
    expect_stuck("rope", ": expected ", words);
}
END_TEST

START_TEST(loss_of_many)
{
    static const char *const words[3] = {"one number", "loss [5,7]"};
    vv_backward(tape, vv_add(tape, "y", in.s5x7, in.weight), 1);
    expect_stuck("visual.blocks.3.attn.y", ": backward: expected ", words);
}
END_TEST

/* Attention writes the gradient of qkv: where another reader comes first on the way back, that is told, not swallowed. */
START_TEST(second_reader)
{
    static const char *const words[3] = {"only reader"};
    vv_tensor *wide = vv_linear(tape, "wide", in.s6x7, in.weight, NULL, NULL); /* [6,5] */
    const int64_t dim[] = {5, 6};
    const int32_t cu[] = {0, 5};
    vv_tensor *qkv = vv_gelu(tape, "qkv", vv_view(tape, NULL, wide, 2, dim), VVB_GELU_ERF);
    vv_tensor *o = vv_attention(tape, "y", qkv, NULL, NULL,
                                &(vvb_attention_args){.cu_q = cu, .S = 1, .H = 2, .Hkv = 2, .scale = 1});
    const int64_t same[] = {10, 1}, triple[] = {10, 3};
    vv_tensor *other = vv_view(tape, NULL, vv_gelu(tape, "other", qkv, VVB_GELU_ERF), 2, triple);
    vv_tensor *sum = vv_linear(tape, "sum", other, input("h", 1, 3), NULL, vv_view(tape, NULL, o, 2, same));
    vv_backward(tape, vv_dot(tape, "loss", sum, input("r", 10, 1)), 1);
    expect_stuck("visual.blocks.3.attn.y", ": attention: expected ", words);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("ops/errors", &tc);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, wrong_shapes, 0, sizeof CASES / sizeof CASES[0]);
    tcase_add_loop_test(tc, wrong_indices, 0, 2);
    tcase_add_loop_test(tc, wrong_places, 0, 3);
    tcase_add_loop_test(tc, wrong_targets, 0, 2);
    tcase_add_test(tc, wrong_table);
    tcase_add_test(tc, loss_of_many);
    tcase_add_test(tc, second_reader);
    return s;
}

VVT_MAIN(suite)
