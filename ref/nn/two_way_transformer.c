#include "nn/two_way_transformer.h"

#include <math.h>
#include <stdlib.h>

static const double EPS = 1e-5;

/* What all attentions of a pass share. The tables: prefix sums over the tokens of instances, the pixels of instances and of pictures;
 * for each pixel of an instance the row of that pixel in its picture. */
typedef struct {
    const vv_two_way *p;
    const vv_two_way_layout *l;
    int32_t *token_cu, *pixel_cu, *picture_cu, *row;
    vv_tensor *T, *pos;
    vv_tensor *Q, *K, *K_pos; /* as they are now; K + pos */
    int shared;               /* K still belongs to pictures */
} pass;

static void prefix_sums(int32_t *cu, int64_t S, int64_t length)
{
    for (int64_t s = 0; s <= S; s++) cu[s] = (int32_t)(s * length);
}

/* the four tables in one block of memory; NULL without */
static int32_t *tables(pass *s)
{
    const int64_t P = s->l->P, B = s->l->B, m = s->l->m;
    int32_t *block = vv_calloc(2 * (P + 1) + B + 1 + P * m, sizeof *block);
    if (!block) return NULL;
    s->token_cu = block;
    s->pixel_cu = s->token_cu + P + 1;
    s->picture_cu = s->pixel_cu + P + 1;
    s->row = s->picture_cu + B + 1;
    prefix_sums(s->token_cu, P, s->l->n);
    prefix_sums(s->pixel_cu, P, m);
    prefix_sums(s->picture_cu, B, m);
    for (int64_t p = 0; p < P; p++)
        for (int64_t i = 0; i < m; i++) s->row[p * m + i] = (int32_t)(s->l->image_of[p] * m + i);
    return block;
}

static vv_tensor *affine(vv_tape *t, const char *name, const vv_affine *p, vv_tensor *x)
{
    return vv_linear(t, name, x, p->weight, p->bias, NULL);
}

static vv_tensor *norm(vv_tape *t, const char *name, const vv_affine *p, vv_tensor *x)
{
    return vv_layernorm(t, name, x, p->weight, p->bias, EPS);
}

/* res + out_proj(attention(q, k, v)); res may be NULL */
static vv_tensor *attend(vv_tape *t, const vv_cross_attn *a, int64_t heads, vvb_attention_args args, vv_tensor *q,
                         vv_tensor *k, vv_tensor *v, vv_tensor *res)
{
    args.H = args.Hkv = heads;
    args.scale = 1 / sqrt((double)(a->q_proj.weight->dim[0] / heads));
    vv_tensor *context = vv_attention(t, "#context", q, k, v, &args);
    return vv_linear(t, res ? "#residual" : "out_proj", context, a->out_proj.weight, a->out_proj.bias, res);
}

static vv_tensor *self_attention(vv_tape *t, const pass *s, const vv_cross_attn *a, vv_tensor *qk, vv_tensor *res)
{
    vv_enter(t, "self_attn", -1);
    vv_tensor *q = affine(t, "q_proj", &a->q_proj, qk), *k = affine(t, "k_proj", &a->k_proj, qk),
              *v = affine(t, "v_proj", &a->v_proj, s->Q);
    const vvb_attention_args args = {.cu_q = s->token_cu, .S = s->l->P};
    vv_tensor *y = attend(t, a, s->p->heads, args, q, k, v, res);
    vv_leave(t);
    return y;
}

/* Q + attn(Q+T, K+pos, K) */
static vv_tensor *token_to_image(vv_tape *t, const pass *s, const char *scope, const vv_cross_attn *a)
{
    vv_tensor *with = vv_add(t, NULL, s->Q, s->T);
    vv_enter(t, scope, -1);
    vv_tensor *q = affine(t, "q_proj", &a->q_proj, with),
              *k = affine(t, s->shared ? "k_proj#pictures" : "k_proj", &a->k_proj, s->K_pos),
              *v = affine(t, s->shared ? "v_proj#pictures" : "v_proj", &a->v_proj, s->K);
    vvb_attention_args args = {.cu_q = s->token_cu, .S = s->l->P, .cu_k = s->pixel_cu, .Sk = s->l->P};
    if (s->shared) {
        args.cu_k = s->picture_cu;
        args.Sk = s->l->B;
        args.k_of = s->l->image_of;
    }
    vv_tensor *y = attend(t, a, s->p->heads, args, q, k, v, s->Q);
    vv_leave(t);
    return y;
}

/* K + attn(K+pos, Q+T, Q): from here on K belongs to instances */
static vv_tensor *image_to_token(vv_tape *t, const pass *s, const vv_cross_attn *a)
{
    const int64_t rows = s->l->P * s->l->m;
    vv_tensor *with = vv_add(t, NULL, s->Q, s->T), *res = s->K;
    vv_enter(t, "cross_attn_image_to_token", -1);
    vv_tensor *q = affine(t, s->shared ? "q_proj#pictures" : "q_proj", &a->q_proj, s->K_pos),
              *k = affine(t, "k_proj", &a->k_proj, with), *v = affine(t, "v_proj", &a->v_proj, s->Q);
    if (s->shared) {
        q = vv_gather_rows(t, "q_proj", q, s->row, rows);
        res = vv_gather_rows(t, NULL, res, s->row, rows);
    }
    const vvb_attention_args args = {.cu_q = s->pixel_cu, .S = s->l->P, .cu_k = s->token_cu, .Sk = s->l->P};
    vv_tensor *y = attend(t, a, s->p->heads, args, q, k, v, res);
    vv_leave(t);
    return y;
}

/* Q + lin2(relu(lin1(Q))) */
static vv_tensor *mlp(vv_tape *t, const vv_two_way_block *b, vv_tensor *Q)
{
    vv_enter(t, "mlp", -1);
    vv_tensor *z = vv_relu(t, "act", affine(t, "lin1", &b->lin1, Q));
    vv_tensor *y = vv_linear(t, "#residual", z, b->lin2.weight, b->lin2.bias, Q);
    vv_leave(t);
    return y;
}

static void block(vv_tape *t, pass *s, int64_t i)
{
    const vv_two_way_block *b = &s->p->blocks[i];
    vv_enter(t, "layers", i);
    vv_tensor *qk = i ? vv_add(t, NULL, s->Q, s->T) : s->Q;
    s->Q = norm(t, "norm1", &b->norm1, self_attention(t, s, &b->self_attn, qk, i ? s->Q : NULL));
    s->Q = norm(t, "norm2", &b->norm2, token_to_image(t, s, "cross_attn_token_to_image", &b->token_to_image));
    s->Q = norm(t, "norm3", &b->norm3, mlp(t, b, s->Q));
    s->K = norm(t, "norm4", &b->norm4, image_to_token(t, s, &b->image_to_token));
    s->shared = 0;
    s->K_pos = vv_add(t, NULL, s->K, s->pos);
    vv_leave(t);
}

vv_two_way_state vv_two_way_forward(vv_tape *t, const vv_two_way *p, const vv_two_way_layout *l, vv_tensor *tokens,
                                    vv_tensor *pixels, vv_tensor *pos)
{
    pass s = {.p = p, .l = l, .T = tokens, .pos = pos, .Q = tokens, .K = pixels, .shared = 1};
    if (!vv_ready(t, 3, tokens, pixels, pos)) return (vv_two_way_state){NULL, NULL};
    int32_t *memory = tables(&s);
    if (!memory) {
        vv_tape_fail(t, VV_MEMORY, "transformer: out of memory");
        return (vv_two_way_state){NULL, NULL};
    }
    vv_enter(t, "transformer", -1);
    s.K_pos = vv_add(t, NULL, pixels, pos);
    for (int64_t i = 0; i < p->depth; i++) block(t, &s, i);
    s.Q = norm(t, "norm_final_attn", &p->norm_final_attn,
               token_to_image(t, &s, "final_attn_token_to_image", &p->final_attn));
    vv_leave(t);
    free(memory);
    return (vv_two_way_state){s.Q, s.K};
}
