/* Reports: a page is well-formed and needs nothing else; numbers of a made-up log stand where the axes say, read back from the page
 * alone; what is missing is left out with a sentence. */
#include <math.h>
#include <sys/stat.h>

#include "pages.h"

/* ---- made-up logs ---------------------------------------------------------------------------------------------------------------------- */
static const char *folder(const char *name)
{
    const char *path = vvt_path(name);
    VVT_OK(vv_dir_make(path, err));
    return path;
}

static const char *with_log(const char *name, const char *log)
{
    char file[80];
    folder(name);
    snprintf(file, sizeof file, "%s/log.jsonl", name);
    vvt_write(file, log, strlen(log));
    return vvt_path(name);
}

/* The tick labels of class `of` in the figure: position (x, or y) and value of each; how many. */
static int ticks(const char *figure, const char *of, const char *coordinate, double at[], double value[])
{
    char start[40], where[16];
    const char *end = strstr(figure, "</figure>");
    int n = 0;
    snprintf(start, sizeof start, "<text class=\"%s\"", of);
    snprintf(where, sizeof where, " %s=\"", coordinate);
    for (const char *p = strstr(figure, start); p && p < end && n < 64; p = strstr(p + 1, start)) {
        at[n] = strtod(strstr(p, where) + strlen(where), NULL);
        value[n++] = strtod(strchr(p, '>') + 1, NULL);
    }
    return n;
}

/* Numbers back from a path, by the first and the last label of each axis. */
typedef struct {
    double x0, x1, u0, u1, y0, y1, v0, v1;
    int log;
} axes;

static axes axes_of(const char *figure, int log)
{
    double at[64], value[64];
    const int y = ticks(figure, "tick", "y", at, value);
    ck_assert_int_ge(y, 2);
    axes a = {.y0 = at[0], .y1 = at[y - 1], .v0 = value[0], .v1 = value[y - 1], .log = log};
    const int x = ticks(figure, "update", "x", at, value);
    ck_assert_int_ge(x, 2);
    a.x0 = at[0];
    a.u0 = value[0];
    a.x1 = at[x - 1];
    a.u1 = value[x - 1];
    return a;
}

static int points(const char *figure, const char *classes, const axes *a, double update[], double value[])
{
    char start[80];
    snprintf(start, sizeof start, "<path class=\"line %s\" d=\"", classes);
    const char *p = strstr(figure, start);
    int n = 0;
    ck_assert_msg(p && p < strstr(figure, "</figure>"), "no line %s", classes);
    for (p += strlen(start); *p != '"'; n++) {
        ck_assert(*p == 'M' || *p == 'L');
        char *end;
        const double x = strtod(p + 1, &end), y = strtod(end, &end);
        const double share = (y - a->y0) / (a->y1 - a->y0);
        update[n] = a->u0 + (x - a->x0) / (a->x1 - a->x0) * (a->u1 - a->u0);
        value[n] = a->log ? a->v0 * pow(a->v1 / a->v0, share) : a->v0 + share * (a->v1 - a->v0);
        p = end;
    }
    return n;
}

static const char *figure_of(const char *page, const char *title)
{
    char start[80];
    snprintf(start, sizeof start, "<figcaption><b>%s.</b>", title);
    const char *p = strstr(page, start);
    ck_assert_msg(p != NULL, "no figure %s", title);
    return p;
}

/* Four updates of one stage, whose numbers come back from the figure: losses on a linear axis, norms on a logarithmic one. */
START_TEST(numbers)
{
    static const double loss[] = {3.25, 1.5, 2.125, 0.75}, norm[] = {420, 3.5, 0.02, 1};
    char log[4000] =
        "{\"kind\":\"start\",\"stage\":\"a<b&c\",\"updates\":9,\"parameters\":7,\"trainable\":5,\"threads\":1}\n";
    for (int i = 0; i < 4; i++)
        snprintf(log + strlen(log), sizeof log - strlen(log),
                 "{\"kind\":\"update\",\"stage\":\"a<b&c\",\"update\":%d,\"loss\":{\"caption\":%.17g,\"total\":1},"
                 "\"parts\":{},"
                 "\"lr\":{\"visual\":0.001},\"grad_norm\":%.17g,\"seconds\":%d}\n",
                 i + 1, loss[i], norm[i], i);
    strcat(log, "{\"kind\":\"validation\",\"stage\":\"a<b&c\",\"update\":4,\"validation\":{\"caption\":2.5,\"total\":1}"
                ",\"best\":4}\n");
    strcat(log, "{\"kind\":\"upd"); /* ended while it wrote */
    const vv_report_options o = {.run = with_log("made", log), .out = vvt_path("made.html"), .scenes = 3};
    char *page = report(&o);
    for (int k = 0; k < 2; k++) {
        const char *figure = figure_of(page, k ? "Gradient norm" : "Captions and answers");
        const axes a = axes_of(figure, k);
        double update[64], value[64];
        ck_assert_int_eq(points(figure, k ? "smooth ink" : "smooth caption", &a, update, value), 4);
        for (int i = 0; i < 4; i++) {
            const double want = k ? norm[i] : loss[i];
            ck_assert_msg(fabs(update[i] - (i + 1)) < 1e-3, "%d: at update %g", i, update[i]);
            ck_assert_msg(fabs(value[i] - want) < 1e-3 * fabs(want), "%d: %g, expected %g", i, value[i], want);
        }
    }
    const char *figure = figure_of(page, "Captions and answers"), *dot = strstr(figure, "<circle class=\"ink\"");
    const axes a = axes_of(figure, 0);
    ck_assert(dot && dot < strstr(figure, "</figure>") && !strstr(dot + 1, "<circle class=\"ink\""));
    ck_assert(fabs(a.v0 + (strtod(strstr(dot, "cy=\"") + 4, NULL) - a.y0) / (a.y1 - a.y0) * (a.v1 - a.v0) - 2.5) <
              1e-3);
    ck_assert(fabs(a.u0 + (strtod(strstr(dot, "cx=\"") + 4, NULL) - a.x0) / (a.x1 - a.x0) * (a.u1 - a.u0) - 4) < 1e-3);
    ck_assert(strstr(figure, "held-out samples") < strstr(figure, "</figure>"));
    ck_assert_ptr_nonnull(strstr(page, "a&lt;b&amp;c"));
    ck_assert_ptr_nonnull(strstr(page, "<td class=\"n\">4 of 9</td>"));
    ck_assert_ptr_nonnull(strstr(page, "no gradients of single tasks"));
    ck_assert_ptr_nonnull(strstr(page, "has no model yet"));
    ck_assert_ptr_nonnull(strstr(page, "No files of versavit probe"));
    ck_assert_ptr_nonnull(strstr(page, "No file of versavit eval"));
    ck_assert_ptr_null(strstr(page, "<b>Depth.</b>"));
    free(page);
}
END_TEST

/* A long stage: the page stays small, a spike of one update keeps its place and height, the thick line is the mean. */
START_TEST(long_stage)
{
    enum { N = 20000, SPIKE = 12345 };
    char *log = malloc(N * 160), *to = log;
    for (int i = 1; i <= N; i++)
        to += sprintf(
            to, "{\"kind\":\"update\",\"stage\":\"s\",\"update\":%d,\"loss\":{\"depth\":%g},\"grad_norm\":1}\n", i,
            i == SPIKE ? 40.0
            : i % 2    ? 1.0
                       : 3.0);
    const vv_report_options o = {.run = with_log("long", log), .out = vvt_path("long.html")};
    char *page = report(&o);
    ck_assert_uint_lt(strlen(page), 300000);
    static double update[N], value[N];
    const char *figure = figure_of(page, "Depth");
    const axes a = axes_of(figure, 0);
    int n = points(figure, "raw depth", &a, update, value), top = 0;
    for (int i = 0; i < n; i++) top = value[i] > value[top] ? i : top;
    ck_assert_msg(fabs(update[top] - SPIKE) < 1 && fabs(value[top] - 40) < 0.1, "%g %g", update[top], value[top]);
    n = points(figure, "smooth depth", &a, update, value);
    ck_assert_int_gt(n, 500);
    for (int i = 0; i < n; i++)
        ck_assert_msg(fabs(value[i] - (fabs(update[i] - SPIKE) <= 400 ? 2 + 38.0 / 801 : 2)) < 0.03, "%g: %g",
                      update[i], value[i]);
    free(page);
    free(log);
}
END_TEST

/* Bars are as high as the means of the norms, cells as coloured as the cosines; a layer without gradients is left out. */
START_TEST(gradients)
{
    static const char log[] =
        "{\"kind\":\"update\",\"stage\":\"s\",\"update\":1,\"loss\":{\"caption\":1},\"grad_norm\":1}\n"
        "{\"kind\":\"gradients\",\"stage\":\"s\",\"update\":5,\"layers\":["
        "{\"layer\":\"visual.blocks.0\",\"norm\":{\"caption\":0.1,\"depth\":30},\"cosine\":{\"caption.depth\":0.8}},"
        "{\"layer\":\"visual.merger\",\"norm\":{\"caption\":0,\"depth\":0},\"cosine\":{\"caption.depth\":0}},"
        "{\"layer\":\"visual.blocks.1\",\"norm\":{\"caption\":1,\"depth\":1},\"cosine\":{\"caption.depth\":0}}]}\n"
        "{\"kind\":\"gradients\",\"stage\":\"s\",\"update\":9,\"layers\":["
        "{\"layer\":\"visual.blocks.0\",\"norm\":{\"caption\":0.3,\"depth\":10},\"cosine\":{\"caption.depth\":-0.8}},"
        "{\"layer\":\"visual.merger\",\"norm\":{\"caption\":0,\"depth\":0},\"cosine\":{\"caption.depth\":0}},"
        "{\"layer\":\"visual.blocks.1\",\"norm\":{\"caption\":1,\"depth\":1},\"cosine\":{\"caption.depth\":0.4}}]}\n";
    static const double norm[] = {0.2, 20, 1, 1};
    static const char *const colour[] = {"#0072b2", "#ebebeb", "#d55e00", "#76afcf"}; /* columns of two layers */
    const vv_report_options o = {.run = with_log("gradients", log), .out = vvt_path("gradients.html")};
    char *page = report(&o);
    const char *bars = strstr(page, "Norms of the tasks"), *maps = strstr(page, "Cosines between the tasks"), *p = bars;
    double at[64], value[64];
    const int n = ticks(bars, "tick", "y", at, value);
    ck_assert_int_ge(n, 2);
    for (int i = 0; i < 4; i++) {
        p = strstr(p + 1, "<rect class=\"bar ");
        ck_assert(p && p < maps && !strncmp(p + 17, i % 2 ? "depth\"" : "caption\"", i % 2 ? 6 : 8));
        const double y = strtod(strstr(p, " y=\"") + 4, NULL), share = (y - at[0]) / (at[n - 1] - at[0]);
        const double got = value[0] * pow(value[n - 1] / value[0], share);
        ck_assert_msg(fabs(got - norm[i]) < 1e-3 * norm[i], "bar %d: %g, expected %g", i, got, norm[i]);
    }
    p = maps;
    for (int i = 0; i < 4; i++) {
        p = strstr(p + 1, "fill=\"#");
        ck_assert_msg(p && !strncmp(p + 6, colour[i], 7), "cell %d: %.7s, expected %s", i, p + 6, colour[i]);
    }
    ck_assert_ptr_nonnull(strstr(page, "caption and depth</td><td class=\"n\">+0.100</td><td class=\"n\">25</td>"));
    ck_assert_ptr_null(strstr(page, ">merger<"));
    free(page);
}
END_TEST

START_TEST(escapes)
{
    vv_page p = {0};
    vv_page_text(&p, "a<b>&\"\x01\xff\xc3\xa9\xe2\x82");
    ck_assert_str_eq(p.text, "a&lt;b&gt;&amp;&quot;\xef\xbf\xbd\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd");
    vv_page_free(&p);
}
END_TEST

/* Whatever the range, an axis holds it, ends at round numbers, and has some. */
START_TEST(ranges)
{
    static const double ends[][2] = {{0, 1},          {0, 0},     {-3, -3},       {1e-300, 1e-300},
                                     {-1e300, 1e300}, {0.1, 0.3}, {1e5, 1e5 + 1}, {7, 7 + 1e-12},
                                     {0.02, 420},     {1, 1},     {1, 10},        {3e-8, 9e11}};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        for (int log = 0; log < 2; log++) {
            const double lo = ends[i][0], hi = ends[i][1];
            if (log && !(lo > 1e-100)) continue;
            const vv_axis a = vv_axis_around(lo, hi, log, 20, 180);
            vv_page p = {0};
            ck_assert_msg(a.lo <= lo && a.hi >= hi && a.lo < a.hi, "%g..%g: %g..%g", lo, hi, a.lo, a.hi);
            ck_assert(fabs(vv_axis_at(&a, a.lo) - 180) < 1e-9 && fabs(vv_axis_at(&a, a.hi) - 20) < 1e-9);
            vv_axis_draw(&p, &a, 0, 1);
            int n = 0;
            for (const char *t = strstr(p.text, "<text"); t; t = strstr(t + 1, "<text")) n++;
            ck_assert_msg(n >= 2 && n <= 25, "%g..%g, log %d: %d labels", lo, hi, log, n);
            ck_assert(!strstr(p.text, "nan") && !strstr(p.text, "inf"));
            vv_page_free(&p);
        }
    ck_assert_double_eq(vv_round_step(1, 4), 0.5);
    ck_assert_double_eq(vv_round_step(0.8, 4), 0.2);
    ck_assert_double_eq(vv_round_step(100, 10), 10);
}
END_TEST

/* ---- files of probes and evaluations ------------------------------------------------------------------------------------------------------ */
START_TEST(tables)
{
    static const char
        base[] = "{\"probe\":\"depth\",\"model\":\"run/base\",\"results\":{\"tower\":{\"rmse\":3.25,\"order\":0.5},"
                 "\"mean_map\":{\"rmse\":4.5,\"order\":null}}}",
        own[] = "{\"probe\":\"depth\",\"model\":\"run/own\",\"results\":{\"tower\":{\"rmse\":2.125,\"order\":0.75}}}",
        classes[] = "{\"probe\":\"segmentation\",\"results\":{\"tower\":{\"miou\":0.345}}}",
        eval[] = "{\"depth\":null,\"segmentation\":{\"head\":{\"ciou\":0.625},\"shuffled_texts\":{\"ciou\":0.25}},"
                 "\"vqa\":{\"all\":{\"n\":7,\"accuracy\":0.5},\"types\":{\"color\":{\"n\":4,\"accuracy\":1,"
                 "\"majority\":0.25,\"grey\":0.125}}},\"caption\":{\"loss\":1.5,\"loss_grey\":2.5},"
                 "\"left_out\":{\"depth\":\"the model has none\"}}";
    char *files[4] = {strdup(vvt_write("base.json", base, strlen(base))),
                      strdup(vvt_write("own.json", own, strlen(own))),
                      strdup(vvt_write("classes.json", classes, strlen(classes))),
                      strdup(vvt_write("eval.json", eval, strlen(eval)))};
    static const char log[] = "{\"kind\":\"start\",\"stage\":\"s\"}\n";
    static const char *const rows[] = {
        "<tr><td>tower, run/base</td><td class=\"n\">3.25</td><td class=\"n\"></td>",
        "<td class=\"n\">50.0</td></tr>\n<tr><td>tower, run/own</td><td class=\"n\">2.125</td>",
        "<tr><td>mean map</td><td class=\"n\">4.5</td>",
        "classes.json</td><td class=\"n\">34.5</td>",
        "<tr><td>color</td><td class=\"n\">4</td><td class=\"n\">100.0</td><td class=\"n\">25.0</td>",
        "<tr><td>all</td><td class=\"n\">7</td><td class=\"n\">50.0</td>",
        "<tr><td>mask head</td><td class=\"n\">62.5</td>",
        "1.5 given the picture, 2.5 given a grey",
        "Not measured: depth: the model has none."};
    vv_report_options o = {.run = with_log("tables", log),
                           .out = vvt_path("tables.html"),
                           .eval = files[3],
                           .probe = (const char *const *)files,
                           .n_probes = 3};
    char *page = report(&o);
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) ck_assert_msg(strstr(page, rows[k]) != NULL, "%s", rows[k]);
    ck_assert_ptr_null(strstr(page, "Depth head"));
    free(page);
    vv_error e = {0};
    o.n_probes = 4;
    vvt_expect_error(&e, vv_report_write(&o, &e), VV_FILE, "eval.json", "'probe'", NULL);
    for (int k = 0; k < 4; k++) free(files[k]);
}
END_TEST

/* tables that a file brings: as they are, and texts escaped */
START_TEST(given_tables)
{
    static const char good[] =
        "{\"tables\":[{\"title\":\"a < b\",\"columns\":[\"arm\",\"mIoU\"],\"rows\":[[\"all\",\"22.5 ± 0.3\"],"
        "[\"none\",\"\"]]}],\"more\":1}",
                      log[] = "{\"kind\":\"start\",\"stage\":\"s\"}\n";
    static const struct {
        const char *text, *words[2];
    } bad[] = {
        {"{}", {"bad-tables.json", "'tables'"}},
        {"{\"tables\":[1]}", {"tables[0]", "object"}},
        {"{\"tables\":[{\"title\":\"t\",\"columns\":[\"a\"]}]}", {"tables[0]", "'rows'"}},
        {"{\"tables\":[{\"title\":\"t\",\"columns\":[\"a\"],\"rows\":[[\"x\",\"y\"]]}]}", {"tables[0]", "1 texts"}},
        {"{\"tables\":[{\"title\":\"t\",\"columns\":[\"a\"],\"rows\":[[1]]}]}", {"tables[0]", "texts"}}};
    vv_report_options o = {.run = with_log("given", log), .out = vvt_path("given.html")};
    o.tables = vvt_write("good-tables.json", good, strlen(good));
    char *page = report(&o);
    ck_assert_ptr_nonnull(strstr(page, "<p>a &lt; b</p>"));
    ck_assert_ptr_nonnull(
        strstr(page, "<tr><th>arm</th><th class=\"n\">mIoU</th></tr>\n<tr><td>all</td><td class=\"n\">22.5 ± 0.3</td>"
                     "</tr>\n<tr><td>none</td><td class=\"n\"></td></tr>"));
    free(page);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        vv_error e = {0};
        o.tables = vvt_write("bad-tables.json", bad[k].text, strlen(bad[k].text));
        vvt_expect_error(&e, vv_report_write(&o, &e), VV_FILE, bad[k].words[0], bad[k].words[1], NULL);
    }
}
END_TEST

START_TEST(errors)
{
    static const struct {
        const char *log, *words[3];
    } bad[] = {
        {"{\"kind\":\"start\",\"stage\":\"s\"}\n{\n{\"kind\":\"end\",\"stage\":\"s\"}\n", {"log.jsonl:2", "JSON"}},
        {"{\"kind\":\"update\",\"stage\":\"s\",\"update\":0}\n", {"log.jsonl:1", "update"}},
        {"{\"kind\":\"update\",\"stage\":\"s\",\"update\":1,\"loss\":{\"depth\":\"x\"}}\n", {"log.jsonl:1", "depth"}},
        {"{\"stage\":\"s\"}\n", {"log.jsonl:1", "kind"}},
        {"{\"kind\":\"validation\",\"stage\":\"s\",\"update\":1,\"validation\":{}}\n", {"log.jsonl:1", "update"}},
        {"{\"kind\":\"gradients\",\"stage\":\"s\",\"update\":1}\n", {"gradients", "layers"}}};
    vv_error e = {0}, f = {0}, g = {0};
    vv_report_options o = {.run = vvt_path("nowhere"), .out = vvt_path("never.html")};
    vvt_expect_error(&e, vv_report_write(&o, &e), VV_FILE, "nowhere", NULL);
    o.run = folder("empty");
    vvt_expect_error(&f, vv_report_write(&o, &f), VV_FILE, "empty", "log.jsonl", NULL);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        vv_error h = {0};
        o.run = with_log("bad", bad[k].log);
        vvt_expect_error(&h, vv_report_write(&o, &h), VV_FILE, bad[k].words[0], bad[k].words[1], NULL);
    }
    o.run = with_log("good", "{\"kind\":\"start\",\"stage\":\"s\"}\n");
    o.out = vvt_path("no/such/folder.html");
    vvt_expect_error(&g, vv_report_write(&o, &g), VV_FILE, "folder.html", NULL);
    struct stat there;
    ck_assert(stat(vvt_path("never.html"), &there) != 0);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("report", &tc);
    tcase_add_test(tc, numbers);
    tcase_add_test(tc, long_stage);
    tcase_add_test(tc, gradients);
    tcase_add_test(tc, escapes);
    tcase_add_test(tc, ranges);
    tcase_add_test(tc, tables);
    tcase_add_test(tc, given_tables);
    tcase_add_test(tc, errors);
    return s;
}
VVT_MAIN(suite)
