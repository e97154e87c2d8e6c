/* One function of the contract replaced by linking the static library: GELU that counts its calls and gives zeros.
 *   backend CONFIG      silent when it was called for every block */
#include <stdio.h>
#include <string.h>
#include <versavit.h>
#include <versavit/backend.h>

static int calls;

void vvb_gelu_fwd(vv_real *y, const vv_real *x, int64_t n, vvb_gelu_kind kind)
{
    (void)x;
    (void)kind;
    memset(y, 0, (size_t)n * sizeof *y);
    calls++;
}

int main(int argc, char **argv)
{
    static unsigned char rgb[28 * 28 * 3];
    const versavit_picture picture = {rgb, 28, 28};
    versavit_model *m;
    versavit_features f;
    if (argc != 2 || versavit_new(&m, argv[1], 1, NULL) || versavit_encode(m, &picture, &f, NULL)) return 1;
    versavit_free(m);
    if (calls != 4) fprintf(stderr, "backend: expected 3 blocks and the merger; counted %d calls\n", calls);
    return calls != 4;
}
