/* A program from outside, built with nothing but `pkg-config --cflags --libs versavit`; C99 and C++11.
 *   train CONFIG PICTURE FOLDER    a few steps towards fixed features, printed losses falling; saved to FOLDER and loaded again */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <versavit.h>

#define TRY(call)                                                                                                      \
    if ((call) != 0) {                                                                                                 \
        fprintf(stderr, "train: %s\n", e.message);                                                                     \
        return e.status;                                                                                               \
    }
#define EXPECT(what)                                                                                                   \
    if (!(what)) {                                                                                                     \
        fprintf(stderr, "train: expected %s\n", #what);                                                                \
        return 1;                                                                                                      \
    }
enum { HEIGHT = 56, WIDTH = 84, STEPS = 4 };

int main(int argc, char **argv)
{
    static unsigned char rgb[HEIGHT * WIDTH * 3];
    const versavit_picture picture = {rgb, HEIGHT, WIDTH};
    versavit_adamw adamw = versavit_adamw_default();
    versavit_error e = {0, ""};
    versavit_model *m, *again;
    versavit_features f, g;
    double last = 1e30, loss, norm, sum = 0;
    EXPECT(argc == 4 && strcmp(versavit_version(), VERSAVIT_VERSION) == 0);
    for (int i = 0; i < HEIGHT * WIDTH * 3; i++) rgb[i] = (unsigned char)(i * 7 % 251);
    adamw.lr = 0.002;
    adamw.max_norm = 0.5;
    TRY(versavit_new(&m, argv[1], 1, &e));
    for (int step = 0; step < STEPS; step++, last = loss) {
        TRY(versavit_forward(m, &picture, 1, &f, &e));
        const int64_t n = f.rows * f.cols;
        float *d = (float *)malloc((size_t)n * sizeof *d);
        EXPECT(d && f.rows == HEIGHT / 28 * (WIDTH / 28));
        loss = 0;
        for (int64_t i = 0; i < n; i++) { /* mean squared distance to -0.3, -0.2 ... 0.3, and its gradient */
            const double by = (double)f.data[i] - (double)(i % 7 - 3) * 0.1;
            loss += by * by / (double)n;
            d[i] = (float)(2 * by / (double)n);
        }
        printf("loss %.12g\n", loss);
        EXPECT(loss < last);
        TRY(versavit_backward(m, d, &e));
        TRY(versavit_step(m, &adamw, &norm, &e));
        EXPECT(norm > 0);
        free(d);
    }
    TRY(versavit_save(m, argv[3], &e));
    TRY(versavit_load(&again, argv[3], &e));
    TRY(versavit_encode_file(m, argv[2], &f, &e));
    TRY(versavit_encode_file(again, argv[2], &g, &e));
    EXPECT(f.rows == g.rows && f.cols == g.cols &&
           memcmp(f.data, g.data, (size_t)(f.rows * f.cols) * sizeof *f.data) == 0);
    for (int64_t i = 0; i < f.rows * f.cols; i++) sum += (double)f.data[i] * (double)f.data[i];
    printf("features %d %d %.12g\n", (int)f.rows, (int)f.cols, sum);
    versavit_free(m);
    versavit_free(again);
    return 0;
}
