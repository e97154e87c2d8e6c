/* What the public interface says when it is used wrongly, and what stays usable after it.
 *   errors CONFIG NOT_A_PICTURE    silent when all is well */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <versavit.h>

static int bad;
static versavit_error e;

#define EXPECT(what)                                                                                                   \
    if (!(what)) {                                                                                                     \
        fprintf(stderr, "errors.c:%d: expected %s; message \"%s\"\n", __LINE__, #what, e.message);                     \
        bad = 1;                                                                                                       \
    }
#define SAYS(call, code, words)                                                                                        \
    do { /* the status, the same one in e, and the words in the message */                                             \
        memset(&e, 0, sizeof e);                                                                                       \
        const int got = (call);                                                                                        \
        EXPECT(got == (code) && e.status == (code) && strstr(e.message, words));                                       \
    } while (0)

enum { SIDE = 56 };
static unsigned char rgb[SIDE * SIDE * 3];
static const versavit_picture picture = {rgb, SIDE, SIDE}, empty = {rgb, 0, SIDE}, absent = {NULL, SIDE, SIDE};
static versavit_features f;
static float d[4 * 32];

static int pass(versavit_model *m, float dy) /* forward and backward */
{
    if (versavit_forward(m, &picture, 1, &f, &e) || f.rows * f.cols != 4 * 32) return 1;
    for (int i = 0; i < 4 * 32; i++) d[i] = dy;
    return versavit_backward(m, d, &e);
}

int main(int argc, char **argv)
{
    versavit_model *m = (versavit_model *)&bad;
    const versavit_adamw adamw = versavit_adamw_default();
    int64_t shape[5];
    double norm = -1;
    EXPECT(argc == 3);
    if (bad) return 1;

    SAYS(versavit_load(&m, "/no/such/model", &e), 3, "/no/such/model");
    EXPECT(m == NULL);
    EXPECT(versavit_load(&m, "/no/such/model", NULL) == 3);
    EXPECT(versavit_new(&m, argv[2], 1, &e) == 3 && strstr(e.message, "/no/such/model")); /* e keeps its first error */
    SAYS(versavit_new(&m, argv[2], 1, &e), 3, argv[2]);
    versavit_free(NULL);
    SAYS(versavit_new(&m, argv[1], 1, &e), 0, "");
    if (!m) return 1;

    const int64_t n = versavit_tensors(m);
    EXPECT(n > 10 && versavit_tensor_name(m, n) == NULL && versavit_tensor_name(m, -1) == NULL &&
           versavit_tensor_shape(m, n, shape) == 0);
    const int rank = versavit_tensor_shape(m, 0, shape);
    int64_t count = 1;
    for (int k = 0; k < rank; k++) count *= shape[k];
    float *w = (float *)calloc((size_t)count, sizeof *w), *v = (float *)calloc((size_t)count, sizeof *v);
    const size_t bytes = (size_t)count * sizeof *w;
    EXPECT(rank > 1 && strstr(versavit_tensor_name(m, 0), "patch_embed") && w && v);
    if (bad) return 1;
    SAYS(versavit_get(m, n, w, &e), 2, "expected 0 to");
    SAYS(versavit_set(m, -1, w, &e), 2, "tensor -1");
    SAYS(versavit_gradient(m, n, w, &e), 2, "expected 0 to");
    SAYS(versavit_freeze(m, n, 1, &e), 2, "expected 0 to");

    SAYS(versavit_backward(m, d, &e), 2, "expected a forward");
    SAYS(versavit_forward(m, &picture, 0, &f, &e), 2, "at least one");
    SAYS(versavit_forward(m, &empty, 1, &f, &e), 2, "picture 0");
    SAYS(versavit_encode(m, &absent, &f, &e), 2, "picture 0");
    SAYS(versavit_encode_file(m, argv[2], &f, &e), 3, argv[2]);
    SAYS(versavit_encode_file(m, "/no/such.png", &f, &e), 3, "/no/such.png");
    SAYS(versavit_save(m, "/no/such/place", &e), 3, "/no/such/place");

    /* a failure in between takes nothing with it that it should not */
    SAYS(pass(m, 1), 0, "");
    SAYS(versavit_backward(m, d, &e), 2, "expected a forward"); /* once */
    SAYS(versavit_forward(m, &picture, 1, &f, &e), 0, "");
    SAYS(versavit_forward(m, &empty, 1, &f, &e), 2, "picture 0");
    SAYS(versavit_backward(m, d, &e), 2, "expected a forward"); /* a failed forward leaves nothing to go back from */
    SAYS(versavit_step(m, &adamw, &norm, &e), 0, "");
    EXPECT(norm > 0);

    /* not finite: 5, no weight moves, and the next batch is not poisoned */
    SAYS(versavit_get(m, 0, w, &e), 0, "");
    SAYS(pass(m, NAN), 0, "");
    SAYS(versavit_step(m, &adamw, &norm, &e), 5, "not finite");
    SAYS(versavit_get(m, 0, v, &e), 0, "");
    EXPECT(memcmp(v, w, bytes) == 0);
    SAYS(pass(m, 1), 0, "");
    SAYS(versavit_gradient(m, 0, v, &e), 0, "");
    EXPECT(v[0] != 0 && v[0] == v[0]);

    /* frozen, with a gradient waiting: it stays where it is; the others move */
    SAYS(versavit_freeze(m, 0, 1, &e), 0, "");
    SAYS(versavit_step(m, &adamw, &norm, &e), 0, "");
    SAYS(pass(m, 1), 0, "");
    SAYS(versavit_step(m, &adamw, &norm, &e), 0, "");
    EXPECT(norm > 0);
    SAYS(versavit_get(m, 0, v, &e), 0, "");
    EXPECT(memcmp(v, w, bytes) == 0);
    SAYS(versavit_gradient(m, 0, v, &e), 0, "");
    EXPECT(v[0] == 0);
    SAYS(versavit_freeze(m, 0, 0, &e), 0, "");
    SAYS(pass(m, 1), 0, "");
    SAYS(versavit_step(m, &adamw, &norm, &e), 0, "");
    SAYS(versavit_get(m, 0, v, &e), 0, "");
    EXPECT(memcmp(v, w, bytes) != 0);
    SAYS(versavit_set(m, 0, w, &e), 0, "");
    SAYS(versavit_get(m, 0, v, &e), 0, "");
    EXPECT(memcmp(v, w, bytes) == 0);

    free(w);
    free(v);
    versavit_free(m);
    return bad;
}
