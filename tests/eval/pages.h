/* What the tests of reports share: reading a page, and what every page must be. */
#ifndef VVT_PAGES_H
#define VVT_PAGES_H

#include "eval/report_parts.h"
#include "io/file.h"
#include "vvt.h"

static inline char *slurp(const char *path)
{
    vv_map map;
    VVT_OK(vv_map_open(&map, path, err));
    char *text = malloc((size_t)map.bytes + 1);
    memcpy(text, map.data, (size_t)map.bytes);
    text[map.bytes] = 0;
    vv_map_close(&map);
    return text;
}

/* Tags are closed in order, attributes quoted, < and & nowhere else. */
static inline void expect_well_formed(const char *text)
{
    enum { DEEP = 32 };
    char open[DEEP][24];
    int n = 0;
    const char *p = text + strlen("<!DOCTYPE html>\n");
    ck_assert(!strncmp(text, "<!DOCTYPE html>\n", strlen("<!DOCTYPE html>\n")));
    for (; *p; p++) {
        ck_assert_msg(*p != '>' || n > 0, "outside: %.40s", p);
        if (*p == '&')
            ck_assert_msg(!strncmp(p, "&amp;", 5) || !strncmp(p, "&lt;", 4) || !strncmp(p, "&gt;", 4) ||
                              !strncmp(p, "&quot;", 6),
                          "%.40s", p);
        if (*p != '<') continue;
        const int closes = p[1] == '/';
        const char *name = p + 1 + closes;
        const size_t length = strcspn(name, " />");
        ck_assert_msg(length > 0 && length < 24, "%.40s", p);
        const char *end = name;
        for (int quoted = 0; *end && (quoted || *end != '>'); end++) {
            quoted ^= *end == '"';
            ck_assert_msg(*end != '<', "%.60s", p);
        }
        ck_assert_msg(*end == '>', "%.60s", p);
        if (closes) {
            ck_assert_msg(n > 0 && strlen(open[n - 1]) == length && !strncmp(open[n - 1], name, length),
                          "%.40s closes %s", p, n > 0 ? open[n - 1] : "nothing");
            n--;
        } else if (end[-1] != '/') {
            ck_assert(n < DEEP);
            snprintf(open[n++], sizeof open[0], "%.*s", (int)length, name);
        }
        p = end;
    }
    ck_assert_int_eq(n, 0);
}

/* Nothing is fetched and nothing runs: every src is data. */
static inline void expect_alone(const char *text)
{
    static const char *const no[] = {"http", "<script", "<link", "href", "url(", "@import", "@font-face", "<iframe"};
    char *tags = strdup(text),
         *style = strndup(strstr(text, "<style>"), (size_t)(strstr(text, "</style>") - strstr(text, "<style>")));
    for (const char *p = strstr(text, "src="); p; p = strstr(p + 1, "src="))
        ck_assert(!strncmp(p, "src=\"data:image/png;base64,", 27));
    for (char *p = tags; *p; p++) { /* what is in pictures and words is no markup */
        if (!strncmp(p, "base64,", 7)) memset(p + 7, '.', strcspn(p + 7, "\""));
        if (*p == '>') memset(p + 1, '.', strcspn(p + 1, "<"));
    }
    for (size_t k = 0; k < sizeof no / sizeof *no; k++)
        ck_assert_msg(!strstr(tags, no[k]) && !strstr(style, no[k]), "%s", no[k]);
    for (const char *p = strstr(tags, " on"); p; p = strstr(p + 1, " on")) /* onload="..." */
        ck_assert_msg(p[3 + strspn(p + 3, "abcdefghijklmnopqrstuvwxyz")] != '=', "%.40s", p);
    free(style);
    free(tags);
}

static inline char *report(const vv_report_options *o)
{
    VVT_OK(vv_report_write(o, err));
    char *text = slurp(o->out);
    expect_well_formed(text);
    expect_alone(text);
    return text;
}

#endif
