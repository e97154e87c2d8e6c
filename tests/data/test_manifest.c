/* Manifests: the form of every task, the files they name, what is refused and what is said. */
#include <math.h>

#include "manifests.h"

enum { N = VVT_ROWS * VVT_COLS };

static void files(void)
{
    vvt_picture("a.png", VVT_ROWS, VVT_COLS, 9);
    vvt_picture("other.png", VVT_ROWS + 1, VVT_COLS, 9);
    vvt_grey("d16.png", VVT_ROWS, VVT_COLS, 16, 250);
    vvt_grey("d8.png", VVT_ROWS, VVT_COLS, 8, 0);
    vvt_grey("wide.png", VVT_ROWS, VVT_COLS + 1, 16, 0);
    vvt_grey("far.png", VVT_ROWS, VVT_COLS + 2, 8, 0);
}

/* ---- the form ------------------------------------------------------------------------------------------------------ */

#define C VV_TASK_CAPTION
#define D VV_TASK_DEPTH
#define S VV_TASK_SEGMENTATION
#define U "{\"role\": \"user\", \"content\": \"q\"}"
#define A "{\"role\": \"assistant\", \"content\": \"a\"}"
#define H(text) "{\"from\": \"human\", \"value\": \"" text "\"}"
#define G "{\"from\": \"gpt\", \"value\": \"a\"}"
#define SYS "{\"role\": \"system\", \"content\": \"s\"}"
#define TALK(turns) "{\"image\": \"a.png\", \"conversations\": [" turns "]}"
#define TEXT(turns) "{\"conversations\": [" turns "]}"
#define MASK(mask) "{\"image\": \"a.png\", \"text\": \"t\", \"mask\": " mask "}"
#define LIST(list) "{\"image\": \"a.png\", \"instances\": " list "}"

static const struct {
    vv_task task;
    const char *line, *words[3];
} bad[] = {
    {C, "[]", {"expected an object", "an array"}},
    {C, "{", {"no valid JSON"}},
    {C, "{\"image\": 1, \"image\": 2}", {"no valid JSON", "duplicate"}},
    {C, "{}", {"'conversations'", "nothing"}},
    {C, "{\"conversations\": {}}", {"'conversations'", "an array"}},
    {C, "{\"conversations\": []}", {"'conversations'", "end with an answer"}},
    {C, "{\"image\": 7, \"conversations\": [" U "," A "]}", {"'image'", "a string", "7"}},
    {C, "{\"type\": [], \"conversations\": [" U "," A "]}", {"'type'", "a string"}},
    {C, TALK("7"), {"conversations[0]", "an object", "7"}},
    {C, TALK("{}"), {"conversations[0]", "'role'"}},
    {C, TALK(U), {"'conversations'", "end with an answer"}},
    {C, TALK(SYS), {"'conversations'", "end with an answer"}},
    {C, TALK(A), {"conversations[0]", "a turn of the user", "assistant"}},
    {C, TALK(U "," U), {"conversations[1]", "a turn of the assistant", "user"}},
    {C, TALK(U "," A "," A), {"conversations[2]", "a turn of the user"}},
    {C, TALK(U "," A "," U), {"end with an answer"}},
    {C, TALK(U "," SYS), {"conversations[1]", "a turn of the assistant", "system"}},
    {C,
     TALK(U ","
            "{\"role\": \"assistant\", \"content\": \"\"}"),
     {"conversations[1]", "empty"}},
    {C,
     TALK(U ","
            "{\"role\": \"assistant\"}"),
     {"conversations[1]", "'content'", "nothing"}},
    {C,
     TALK(U ","
            "{\"role\": \"assistant\", \"content\": [\"a\"]}"),
     {"conversations[1]", "'content'", "a string"}},
    {C, TALK("{\"role\": \"tool\", \"content\": \"x\"}"), {"conversations[0]", "'role'", "'tool'"}},
    {C, TALK("{\"from\": \"human\", \"content\": \"x\"}"), {"conversations[0]", "'value'"}},
    {C, TALK(H("<image><image>") "," G), {"conversations[0]", "at most one <image>", "2"}},
    {C, TALK(H("a") "," G "," H("<image>") "," G), {"conversations[2]", "only the first", "1"}},
    {C, TEXT(H("<image>\\nq") "," G), {"conversations[0]", "no 'image'", "1"}},
    {D, "{\"image\": \"a.png\"}", {"'depth'", "nothing"}},
    {D, "{\"depth\": \"d16.png\"}", {"'image'", "nothing"}},
    {D, "{\"image\": \"a.png\", \"depth\": 3}", {"'depth'", "a string", "3"}},
    {D,
     "{\"image\": \"a.png\", \"depth\": \"d16.png\", \"kind\": \"metres\"}",
     {"'kind'", "disparity or depth", "'metres'"}},
    {D, "{\"image\": \"a.png\", \"depth\": \"d16.png\", \"valid\": true}", {"'valid'", "a string"}},
    {D, "{\"image\": \"a.png\", \"depth\": \"d16.png\", \"classes\": []}", {"'classes'", "a string"}},
    {S, "{\"text\": \"t\", \"mask\": \"m.png\"}", {"'image'", "nothing"}},
    {S, "{\"image\": \"a.png\", \"mask\": \"m.png\"}", {"'text'", "nothing"}},
    {S, "{\"image\": \"a.png\", \"text\": \"\", \"mask\": \"m.png\"}", {"'text'", "empty"}},
    {S, "{\"image\": \"a.png\", \"text\": \"t\"}", {"'mask'", "nothing"}},
    {S, MASK("3"), {"'mask'", "a path", "3"}},
    {S, MASK("{}"), {"'size'", "nothing"}},
    {S, MASK("{\"size\": [4, 5]}"), {"'counts'", "nothing"}},
    {S, MASK("{\"counts\": \"d0\"}"), {"'size'", "nothing"}},
    {S, MASK("{\"size\": [4], \"counts\": \"d0\"}"), {"'size'", "[height, width]", "an array of 1"}},
    {S, MASK("{\"size\": [4, 5.0], \"counts\": \"d0\"}"), {"'size'", "[height, width]"}},
    {S, MASK("{\"size\": {\"a\": 1, \"b\": 2}, \"counts\": \"d0\"}"), {"'size'", "an object"}},
    {S, MASK("{\"size\": [4, 5], \"counts\": 20}"), {"'counts'", "a string or a list", "20"}},
    {S, MASK("{\"polygons\": 3}"), {"'polygons'", "an array"}},
    {S, MASK("{\"polygons\": null}"), {"'polygons'", "null"}},
    {S, LIST("[]"), {"'instances'", "1 to 1024", "found 0"}},
    {S, LIST("{}"), {"'instances'", "1 to 1024"}},
    {S, LIST("[3]"), {"instances[0]", "an object", "3"}},
    {S, LIST("[{\"text\": \"t\", \"mask\": \"m.png\"}, {\"text\": 1}]"), {"instances[1]", "'text'", "a string"}},
    {S, "{\"image\": \"a.png\", \"instances\": [{\"text\": \"t\", \"mask\": \"m\"}], \"text\": \"t\"}", {"found both"}},
};
enum { BAD = sizeof bad / sizeof *bad };

START_TEST(form_refused)
{
    char text[600];
    static const char *const before[VV_TASKS] = {TEXT(U "," A), "{\"image\": \"x\", \"depth\": \"y\"}",
                                                 MASK("\"m.png\"")};
    snprintf(text, sizeof text, "%s\n\n  \n%s\n", before[bad[_i].task], bad[_i].line);
    vv_dataset *d;
    vv_error e = {0};
    const vv_status s = vvt_open(&d, "bad.jsonl", text, bad[_i].task, 0, &e);
    for (int k = 0; k < 3 && bad[_i].words[k]; k++)
        vvt_expect_error(&e, s, VV_FILE, "bad.jsonl:4: ", bad[_i].words[k], NULL);
    ck_assert(!d);
}
END_TEST

/* ---- conversations -------------------------------------------------------------------------------------------------- */

static const struct {
    const char *line;
    int image, n;
    const char *type, *turn[4]; /* "user:..." */
} talks[] = {
    {TALK(U "," A), 1, 2, NULL, {"user:q", "assistant:a"}},
    {TEXT(U "," A), 0, 2, NULL, {"user:q", "assistant:a"}},
    {"{\"image\": null, \"type\": null, \"conversations\": [" U "," A "]}", 0, 2, NULL, {"user:q", "assistant:a"}},
    {"{\"type\": \"count\", \"conversations\": [" SYS "," U "," A "]}",
     0,
     3,
     "count",
     {"system:s", "user:q", "assistant:a"}},
    {TALK(U "," A "," U "," A), 1, 4, NULL, {"user:q", "assistant:a", "user:q", "assistant:a"}},
    {TALK(H("<image>\\nWhat?") "," G), 1, 2, NULL, {"user:What?", "assistant:a"}},
    {TALK(H("What?\\n <image>") "," G), 1, 2, NULL, {"user:What?", "assistant:a"}},
    {TALK(H("<image>") "," G), 1, 2, NULL, {"user:", "assistant:a"}},
    {TALK(H("see <image> and tell") "," G), 1, 2, NULL, {"user:see and tell", "assistant:a"}},
    {TALK(H("What?") "," G "," H("why") "," G), 1, 4, NULL, {"user:What?", "assistant:a", "user:why", "assistant:a"}},
    {TALK(H("q") ","
                 "{\"from\": \"gpt\", \"value\": \"an <image> tag\"}"),
     1,
     2,
     NULL,
     {"user:q", "assistant:an <image> tag"}},
    {TALK("{\"role\": \"user\", \"content\": \"<image> is a tag\"}," A),
     1,
     2,
     NULL,
     {"user:<image> is a tag", "assistant:a"}},
    {TALK("{\"from\": \"user\", \"value\": \"\"},"
          "{\"role\": \"gpt\", \"content\": \"\\u00e9\"}"),
     1,
     2,
     NULL,
     {"user:", "assistant:\xc3\xa9"}},
    {TEXT("{\"role\": \"user\", \"content\": \"<image><image>\"}," A),
     0,
     2,
     NULL,
     {"user:<image><image>", "assistant:a"}},
};
enum { TALKS = sizeof talks / sizeof *talks };

START_TEST(conversations)
{
    vv_sample s;
    files();
    VVT_OK(vvt_one(&s, talks[_i].line, VV_TASK_CAPTION, err));
    ck_assert(talks[_i].image ? s.image.h == VVT_ROWS && s.image.w == VVT_COLS && s.image.rgb[0] == 9 : !s.image.rgb);
    ck_assert_int_eq(s.n_messages, talks[_i].n);
    ck_assert_str_eq(s.name, vvt_path("m.jsonl:1"));
    ck_assert(talks[_i].type ? s.type && !strcmp(s.type, talks[_i].type) : !s.type);
    for (int i = 0; i < talks[_i].n; i++) {
        char turn[100];
        snprintf(turn, sizeof turn, "%s:%s", s.message[i].role, s.message[i].text);
        ck_assert_str_eq(turn, talks[_i].turn[i]);
    }
    ck_assert(!s.disparity && !s.classes && !s.instance && !s.n_instances);
    vv_sample_free(&s);
    vv_sample_free(&s); /* twice is fine */
}
END_TEST

/* ---- depth ------------------------------------------------------------------------------------------------------------ */

static void write_pfm(const char *name, const float *v)
{
    unsigned char b[16 + 4 * N] = "Pf\n5 4\n-1\n";
    for (int y = 0; y < VVT_ROWS; y++)
        memcpy(b + 10 + 4 * VVT_COLS * y, v + VVT_COLS * (VVT_ROWS - 1 - y), 4 * VVT_COLS);
    vvt_write(name, b, 10 + 4 * N);
}

/* What one number becomes, as disparity and as depth. */
static const struct {
    float v, disparity, depth;
} numbers[] = {{1, 1, 1},
               {4, 4, 0.25f},
               {0, 0, NAN},
               {-0.f, 0, NAN},
               {-1, NAN, NAN},
               {NAN, NAN, NAN},
               {INFINITY, NAN, 0},
               {-INFINITY, NAN, NAN},
               {3, 3, 1.f / 3},
               {1e-45f, 1e-45f, NAN}, /* its reciprocal is no float */
               {1e-37f, 1e-37f, 1e37f},
               {1e37f, 1e37f, 1e-37f},
               {3.5f, 3.5f, 1 / 3.5f}};
enum { NUMBERS = sizeof numbers / sizeof *numbers };

static int same(float a, float b) { return isnan(a) ? isnan(b) : a == b || fabsf(a - b) <= 1e-7f * fabsf(b); }

START_TEST(depth_values)
{
    static const char *const file[] = {"d.npy", "d.pfm", "d64.npy"};
    static const char *const kind[] = {"", ", \"kind\": \"disparity\"", ", \"kind\": \"depth\""};
    float v[N];
    double v64[N];
    const int64_t shape[2] = {VVT_ROWS, VVT_COLS};
    char line[200];
    vv_sample s;
    for (int i = 0; i < N; i++) v64[i] = (double)(v[i] = numbers[i % NUMBERS].v);
    files();
    VVT_OK(vv_npy_write(vvt_path("d.npy"), VV_DT_F32, 2, shape, v, err));
    VVT_OK(vv_npy_write(vvt_path("d64.npy"), VV_DT_F64, 2, shape, v64, err));
    write_pfm("d.pfm", v);
    for (int k = 0; k < 3; k++) {
        snprintf(line, sizeof line, "{\"image\": \"a.png\", \"depth\": \"%s\"%s}", file[_i], kind[k]);
        vvt_hear();
        VVT_OK(vvt_one(&s, line, VV_TASK_DEPTH, err));
        for (int i = 0; i < N; i++)
            ck_assert_msg(same(s.disparity[i], k < 2 ? numbers[i % NUMBERS].disparity : numbers[i % NUMBERS].depth),
                          "%s: %g became %g", line, (double)v[i], (double)s.disparity[i]);
        ck_assert(!s.classes && !s.message && !s.instance && s.image.h == VVT_ROWS && vvt_heard.n == 0);
        vv_sample_free(&s);
    }
}
END_TEST

START_TEST(depth_png_and_integers)
{
    vv_sample s;
    int64_t shape[2] = {VVT_ROWS, VVT_COLS};
    uint16_t u[N];
    files();
    VVT_OK(vvt_one(&s, "{\"image\": \"a.png\", \"depth\": \"d16.png\", \"valid\": \"d8.png\", \"classes\": \"d8.png\"}",
                   VV_TASK_DEPTH, err));
    ck_assert(isnan(s.disparity[0])); /* the mask's only 0 */
    for (int i = 0; i < N; i++) {
        if (i) ck_assert(s.disparity[i] == (float)(250 + i));
        ck_assert_int_eq(s.classes[i], i);
        u[i] = (uint16_t)(65535 - i);
    }
    vv_sample_free(&s);
    VVT_OK(vv_npy_write(vvt_path("u.npy"), VV_DT_U16, 2, shape, u, err));
    VVT_OK(vvt_one(&s, "{\"image\": \"a.png\", \"depth\": \"u.npy\"}", VV_TASK_DEPTH, err));
    for (int i = 0; i < N; i++) ck_assert(s.disparity[i] == (float)(65535 - i));
    vv_sample_free(&s);
}
END_TEST

START_TEST(eight_bits_are_said_once)
{
    static const char line[] = "{\"image\": \"a.png\", \"depth\": \"d8.png\"}\n";
    char text[3 * sizeof line];
    vv_dataset *d;
    vv_sample s;
    files();
    snprintf(text, sizeof text, "%s%s%s", line, line, line);
    VVT_OK(vvt_open(&d, "m.jsonl", text, VV_TASK_DEPTH, 0, err));
    vvt_hear();
    for (int i = 1; i < 3; i++) {
        VVT_OK(vv_dataset_get(d, i, &s, err));
        for (int k = 0; k < N; k++) ck_assert(s.disparity[k] == (float)k);
        vv_sample_free(&s);
        ck_assert_int_eq(vvt_heard.n, 1);
        ck_assert(strstr(vvt_heard.text, "m.jsonl:2: ") && strstr(vvt_heard.text, "8 bits"));
    }
    vv_dataset_free(d);
}
END_TEST

/* ---- masks ------------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *mask;
    const char *rows; /* 4 rows of 5 */
    const char *warning;
} masks[] = {
    {"\"m8.png\"",
     "01111"
     "11111"
     "11111"
     "11111",
     NULL},
    {"\"m16.png\"",
     "01111"
     "11111"
     "11111"
     "11111",
     NULL},
    {"{\"size\": [4, 5], \"counts\": [1, 2, 17]}",
     "00000"
     "10000"
     "10000"
     "00000",
     NULL},
    {"{\"size\": [4, 5], \"counts\": \"12a0\"}",
     "00000"
     "10000"
     "10000"
     "00000",
     NULL},
    {"{\"polygons\": [[1, 1, 3, 1, 3, 3, 1, 3], [4, 0, 5, 0, 5, 1, 4, 1]]}",
     "00001"
     "01100"
     "01100"
     "00000",
     NULL},
    /* too wide by one: the columns 0, 1, 3, 4, 5 stay; too low by one: the rows 0, 1, 1, 2 */
    {"{\"size\": [4, 6], \"counts\": [0, 4, 4, 4, 4, 4, 4]}",
     "10010"
     "10010"
     "10010"
     "10010",
     "4 x 6"},
    {"{\"size\": [3, 5], \"counts\": [1, 1, 13]}",
     "00000"
     "10000"
     "10000"
     "00000",
     "3 x 5"},
    {"\"wide8.png\"",
     "01111"
     "11111"
     "11111"
     "11111",
     "4 x 6"},
};
enum { MASKS = sizeof masks / sizeof *masks };

START_TEST(segmentation_masks)
{
    char line[400];
    files();
    vvt_grey("m8.png", VVT_ROWS, VVT_COLS, 8, 0);
    vvt_grey("m16.png", VVT_ROWS, VVT_COLS, 16, 0);
    vvt_grey("wide8.png", VVT_ROWS, VVT_COLS + 1, 8, 0);
    for (int list = 0; list < 2; list++) {
        vv_sample s;
        if (list)
            snprintf(line, sizeof line,
                     LIST("[{\"text\": \"x\", \"mask\": \"m8.png\"}, {\"text\": \"the t\", \"mask\": %s}]"),
                     masks[_i].mask);
        else snprintf(line, sizeof line, MASK("%s"), masks[_i].mask);
        vvt_hear();
        VVT_OK(vvt_one(&s, line, VV_TASK_SEGMENTATION, err));
        ck_assert_int_eq(s.n_instances, 1 + list);
        ck_assert_str_eq(s.instance[list].text, list ? "the t" : "t");
        for (int i = 0; i < N; i++)
            ck_assert_msg(s.instance[list].mask[i] == masks[_i].rows[i] - '0', "%s: pixel %d: %d", line, i,
                          s.instance[list].mask[i]);
        ck_assert_int_eq(vvt_heard.n, masks[_i].warning != NULL);
        if (masks[_i].warning)
            ck_assert(strstr(vvt_heard.text, masks[_i].warning) &&
                      strstr(vvt_heard.text, list ? "m.jsonl:1: instances[1]" : "m.jsonl:1: "));
        vv_sample_free(&s);
    }
}
END_TEST

/* ---- files that are wrong ---------------------------------------------------------------------------------------------- */

static const struct {
    vv_task task;
    const char *line, *words[3];
} bad_files[] = {
    {C, "{\"image\": \"no.png\", \"conversations\": [" U "," A "]}", {"no.png", "cannot be opened"}},
    {C, "{\"image\": \"\", \"conversations\": [" U "," A "]}", {"folder"}},
    {C, "{\"image\": \"m.jsonl\", \"conversations\": [" U "," A "]}", {"m.jsonl", "PNG or JPEG"}},
    {D, "{\"image\": \"a.png\", \"depth\": \"no.npy\"}", {"no.npy", "cannot be opened"}},
    {D, "{\"image\": \"a.png\", \"depth\": \"m.jsonl\"}", {"m.jsonl", "a grey PNG, an npy or a PFM"}},
    {D, "{\"image\": \"a.png\", \"depth\": \"a.png\"}", {"a.png", "grey", "colours"}},
    {D, "{\"image\": \"a.png\", \"depth\": \"wide.png\"}", {"wide.png", "4 x 5", "4 x 6"}},
    {D, "{\"image\": \"other.png\", \"depth\": \"d16.png\"}", {"d16.png", "5 x 5", "4 x 5"}},
    {D, "{\"image\": \"a.png\", \"depth\": \"one.npy\"}", {"one.npy", "[height,width]", "[20]"}},
    {D, "{\"image\": \"a.png\", \"depth\": \"d16.png\", \"valid\": \"wide.png\"}", {"wide.png", "4 x 5", "4 x 6"}},
    {D, "{\"image\": \"a.png\", \"depth\": \"d16.png\", \"classes\": \"wide.png\"}", {"wide.png", "4 x 5", "4 x 6"}},
    {D, "{\"image\": \"a.png\", \"depth\": \"d16.png\", \"classes\": \"d16.png\"}", {"d16.png", "0 to 255", "256"}},
    {D, "{\"image\": \"a.png\", \"depth\": \"d16.png\", \"classes\": \"no.png\"}", {"no.png"}},
    {S, MASK("\"no.png\""), {"no.png", "cannot be opened"}},
    {S, MASK("\"far.png\""), {"far.png", "4 x 5", "4 x 7"}},
    {S, MASK("{\"size\": [4, 7], \"counts\": [28]}"), {"'size'", "4 x 5", "4 x 7"}},
    {S, MASK("{\"size\": [2, 5], \"counts\": [10]}"), {"'size'", "4 x 5", "2 x 5"}},
    {S, MASK("{\"size\": [6, 5], \"counts\": [30]}"), {"'size'", "4 x 5", "6 x 5"}},
    {S, MASK("{\"size\": [4, 3], \"counts\": [12]}"), {"'size'", "4 x 5", "4 x 3"}},
    {S, MASK("{\"size\": [-1, 5], \"counts\": [0]}"), {"'size'", "-1 x 5"}},
    {S, MASK("{\"size\": [4611686018427387904, 4], \"counts\": [0]}"), {"'size'", "4611686018427387904 x 4"}},
    {S, MASK("{\"size\": [4, 5], \"counts\": [19]}"), {"'counts'", "4 x 5", "19"}},
    {S, MASK("{\"polygons\": []}"), {"'polygons'", "1 to 1000"}},
    {S,
     LIST("[{\"text\": \"t\", \"mask\": \"d16.png\"}, {\"text\": \"t\", \"mask\": \"far.png\"}]"),
     {"instances[1]", "far.png"}},
};
enum { BAD_FILES = sizeof bad_files / sizeof *bad_files };

START_TEST(files_refused)
{
    const int64_t shape[1] = {N};
    const float v[N] = {0};
    vv_sample s;
    vv_error e = {0};
    files();
    VVT_OK(vv_npy_write(vvt_path("one.npy"), VV_DT_F32, 1, shape, v, err));
    const vv_status status = vvt_one(&s, bad_files[_i].line, bad_files[_i].task, &e);
    for (int k = 0; k < 3 && bad_files[_i].words[k]; k++)
        vvt_expect_error(&e, status, VV_FILE, "m.jsonl:1: ", bad_files[_i].words[k], NULL);
    ck_assert(!s.name && !s.image.rgb && !s.message && !s.disparity && !s.classes && !s.instance);
}
END_TEST

/* ---- manifests as a whole ---------------------------------------------------------------------------------------------- */

START_TEST(list_of_samples)
{
    static const char text[] =
        "\n [\n{\"id\": \"]},[\\\"\",\n \"conversations\": [" H("q\\\\") "," G "]},\n\n\n"
                                                                         "{\"conversations\": [" U "," A "]}\n]\n";
    const int64_t line[2] = {3, 7};
    vv_dataset *d;
    vv_sample s;
    char name[20];
    vvt_hear();
    VVT_OK(vvt_open(&d, "l.json", text, VV_TASK_CAPTION, 0, err));
    ck_assert_int_eq(vv_dataset_size(d), 2);
    for (int i = 0; i < 2; i++) {
        VVT_OK(vv_dataset_get(d, i, &s, err));
        snprintf(name, sizeof name, "l.json:%d", (int)line[i]);
        ck_assert_str_eq(s.name, vvt_path(name));
        ck_assert_str_eq(s.message[0].text, i ? "q" : "q\\");
        vv_sample_free(&s);
    }
    vv_dataset_free(d);
    ck_assert_int_eq(vvt_heard.n, 0);
}
END_TEST

#define TALK_LINE TEXT(U "," A)
static const struct {
    const char *name, *text, *words[2];
} bad_manifests[] = {
    {"e.jsonl", "", {"at least one sample"}},
    {"e.jsonl", "\n \r\n", {"at least one sample"}},
    {"e.json", "[]", {"at least one sample"}},
    {"e.json", " [ ] ", {"at least one sample"}},
    {"e.json", "", {"e.json:1", "a list [ ]"}},
    {"e.json", "\n\n{}", {"e.json:3", "a list [ ]"}},
    {"e.json", "[" TALK_LINE, {"e.json:1", "end with ]"}},
    {"e.json", "[" TALK_LINE ",\n", {"e.json:2", "end with ]"}},
    {"e.json", "[" TALK_LINE ",]", {"e.json:1", "no valid JSON"}},
    {"e.json", "[,\n" TALK_LINE "]", {"e.json:1", "no valid JSON"}},
    {"e.json", "[" TALK_LINE "\n" TALK_LINE "]", {"e.json:1", "no valid JSON"}},
    {"e.json", "[" TALK_LINE "]\n]", {"e.json:2", "nothing behind the list"}},
    {"e.json", "[\"abc]", {"e.json:1", "end with ]"}},
    {"e.json", "[\"abc\\", {"e.json:1", "end with ]"}},
    {"e.json", "[}]", {"e.json:1", "end with ]"}},
    {"e.jsonl", "[" TALK_LINE "]", {"e.jsonl:1", "expected an object"}},
};
enum { BAD_MANIFESTS = sizeof bad_manifests / sizeof *bad_manifests };

START_TEST(manifests_refused)
{
    vv_dataset *d;
    vv_error e = {0};
    const vv_status s = vvt_open(&d, bad_manifests[_i].name, bad_manifests[_i].text, VV_TASK_CAPTION, 0, &e);
    for (int k = 0; k < 2 && bad_manifests[_i].words[k]; k++)
        vvt_expect_error(&e, s, VV_FILE, bad_manifests[_i].name, bad_manifests[_i].words[k], NULL);
    ck_assert(!d);
}
END_TEST

START_TEST(no_text)
{
    vv_dataset *d;
    vv_error e = {0}, f = {0};
    vv_source source = {.manifest = vvt_write("nul.jsonl", "{}\n\0", 4)};
    vvt_expect_error(&e, vv_dataset_open(&d, &source, VV_TASK_DEPTH, 0, &e), VV_FILE, "nul.jsonl", "NUL at byte 3",
                     NULL);
    source.manifest = vvt_path("no.jsonl");
    vvt_expect_error(&f, vv_dataset_open(&d, &source, VV_TASK_DEPTH, 0, &f), VV_FILE, "no.jsonl", "cannot be opened",
                     NULL);
}
END_TEST

START_TEST(unknown_keys_are_said_once)
{
    vv_dataset *d;
    vvt_hear();
    VVT_OK(vvt_open(&d, "m.jsonl",
                    "{\"id\": 1, \"conversations\": [" U "," A "]}\n{\"model\": \"\", \"conversations\": [" U "," A
                    "]}\n{\"colour\": 1, \"conversations\": [" U "," A "]}",
                    VV_TASK_CAPTION, 0, err));
    ck_assert_int_eq(vvt_heard.n, 1);
    ck_assert(strstr(vvt_heard.text, "m.jsonl:2: ") && strstr(vvt_heard.text, "'model'"));
    vv_dataset_free(d);
}
END_TEST

/* Names are relative to the manifest's folder, wherever the program runs; absolute ones are taken as they are. */
START_TEST(paths)
{
    char line[600];
    vv_sample s;
    files();
    snprintf(line, sizeof line, "{\"image\": \"%s\", \"conversations\": [" U "," A "]}", vvt_path("a.png"));
    VVT_OK(vvt_one(&s, line, VV_TASK_CAPTION, err));
    ck_assert(s.image.rgb[0] == 9);
    vv_sample_free(&s);
    snprintf(line, sizeof line, "{\"image\": \"../%s/a.png\", \"conversations\": [" U "," A "]}",
             strrchr(vvt_tmpdir(), '/') + 1);
    VVT_OK(vvt_one(&s, line, VV_TASK_CAPTION, err));
    vv_sample_free(&s);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("manifest", &tc);
    tcase_add_loop_test(tc, form_refused, 0, BAD);
    tcase_add_loop_test(tc, conversations, 0, TALKS);
    tcase_add_loop_test(tc, depth_values, 0, 3);
    tcase_add_test(tc, depth_png_and_integers);
    tcase_add_test(tc, eight_bits_are_said_once);
    tcase_add_loop_test(tc, segmentation_masks, 0, MASKS);
    tcase_add_loop_test(tc, files_refused, 0, BAD_FILES);
    tcase_add_test(tc, list_of_samples);
    tcase_add_loop_test(tc, manifests_refused, 0, BAD_MANIFESTS);
    tcase_add_test(tc, no_text);
    tcase_add_test(tc, unknown_keys_are_said_once);
    tcase_add_test(tc, paths);
    return s;
}
VVT_MAIN(suite)
