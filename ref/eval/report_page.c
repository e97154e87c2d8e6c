/* The page that a report is: growing text, its style, and pictures in it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "eval/report_parts.h"
#include "io/tokenizer.h"

void vv_page_free(vv_page *p)
{
    free(p->text);
    *p = (vv_page){0};
}

static int room(vv_page *p, int64_t more)
{
    if (p->failed) return 0;
    if (p->cap - p->n > more) return 1;
    const int64_t cap = vv_max(2 * p->cap, p->n + more + 1);
    char *text = realloc(p->text, (size_t)cap);
    if (!text) {
        p->failed = 1;
        return 0;
    }
    p->text = text;
    p->cap = cap;
    return 1;
}

static void append(vv_page *p, const char *text, int64_t n)
{
    if (!room(p, n)) return;
    memcpy(p->text + p->n, text, (size_t)n);
    p->n += n;
    p->text[p->n] = 0;
}

void vv_page_put(vv_page *p, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) p->failed = 1;
    if (n < 0 || !room(p, n)) return;
    va_start(ap, fmt);
    vsnprintf(p->text + p->n, (size_t)n + 1, fmt, ap);
    va_end(ap);
    p->n += n;
}

void vv_page_text(vv_page *p, const char *text)
{
    static const char unknown[] = "\xef\xbf\xbd"; /* U+FFFD */
    const char *end = text + strlen(text);
    while (text < end) {
        const int64_t wrong = vv_utf8_invalid(text, (size_t)(end - text));
        const char *stop = wrong < 0 ? end : text + wrong;
        for (; text < stop; text++) {
            const unsigned char c = (unsigned char)*text;
            const char *as = c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '"' ? "&quot;" : NULL;
            if (c < 0x20 && c != '\n' && c != '\t') as = unknown;
            append(p, as ? as : text, as ? (int64_t)strlen(as) : 1);
        }
        if (wrong < 0) break;
        append(p, unknown, 3);
        text++;
    }
}

vv_status vv_page_image(vv_page *p, const vv_image *image, const char *class_name, const char *alt, vv_error *err)
{
    unsigned char *bytes = NULL;
    int64_t n = 0;
    VV_TRY(vv_image_encode_png(image, &bytes, &n, err));
    char *text = vv_base64(bytes, n);
    free(bytes);
    if (!text) return vv_no_memory(err, "report");
    vv_page_put(p, "<img class=\"%s\" alt=\"", class_name);
    vv_page_text(p, alt);
    vv_page_put(p, "\" src=\"data:image/png;base64,");
    append(p, text, (int64_t)strlen(text));
    vv_page_put(p, "\"/>");
    free(text);
    return VV_OK;
}

void vv_page_key(vv_page *p, const char *colour, const char *name)
{
    vv_page_put(p,
                "<span class=\"key\"><svg viewBox=\"0 0 16 7\" aria-hidden=\"true\"><rect class=\"%s\" width=\"16\" "
                "height=\"7\"/></svg>%s</span> ",
                colour, name);
}

vv_status vv_page_figure(vv_page *p, const vv_image *image, const char *class_name, const char *alt, vv_error *err)
{
    vv_page_put(p, "<figure>");
    VV_TRY(vv_page_image(p, image, class_name, alt, err));
    vv_page_put(p, "<figcaption>");
    vv_page_text(p, alt);
    vv_page_put(p, "</figcaption></figure>\n");
    return VV_OK;
}

/* ---- style ----------------------------------------------------------------------------------------------------------------------- */
/* Lines that are told apart: Okabe and Ito's blue, vermilion, green, orange and purple; lighter ones of the same hues on dark. */
static const char style[] =
    ":root{color-scheme:light dark;--paper:#fff;--ink:#1a1a1a;--faint:#666;--rule:#d4d4d4;--panel:#f5f5f5;"
    "--caption:#0072b2;--depth:#d55e00;--segmentation:#009e73;--one:#e69f00;--two:#cc79a7}\n"
    "@media (prefers-color-scheme:dark){:root{--paper:#161616;--ink:#e8e8e8;--faint:#a0a0a0;--rule:#444;--panel:#222;"
    "--caption:#56b4e9;--depth:#ff8c42;--segmentation:#2fc79a;--one:#f5b93a;--two:#e3a1c5}}\n"
    "@media print{:root{color-scheme:light;--paper:#fff;--ink:#000;--faint:#444;--rule:#bbb;--panel:#fff;"
    "--caption:#0072b2;--depth:#d55e00;--segmentation:#009e73;--one:#e69f00;--two:#cc79a7}"
    "figure,.scene,table{break-inside:avoid}body{max-width:none}}\n"
    "body{margin:2rem auto;max-width:62rem;padding:0 1rem;background:var(--paper);color:var(--ink);"
    "font:16px/1.5 system-ui,sans-serif}\n"
    "h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem;border-bottom:1px solid var(--rule)}h3{font-size:1rem}\n"
    "p,figcaption{max-width:50rem}figure{margin:1.5rem 0}figcaption{font-size:.9rem}.faint{color:var(--faint)}\n"
    "svg{display:block;width:100%;max-width:54rem;height:auto;font:11px system-ui,sans-serif}\n"
    "svg text{fill:var(--ink)}svg .rule{stroke:var(--rule);fill:none}svg .axis{stroke:var(--ink);fill:none}\n"
    ".caption{stroke:var(--caption);fill:var(--caption)}.depth{stroke:var(--depth);fill:var(--depth)}\n"
    ".segmentation{stroke:var(--segmentation);fill:var(--segmentation)}.one{stroke:var(--one);fill:var(--one)}\n"
    ".two{stroke:var(--two);fill:var(--two)}.ink{stroke:var(--ink);fill:var(--ink)}.grey{stroke:var(--faint);fill:var(-"
    "-faint)}\n"
    "svg .line{fill:none;stroke-linejoin:round}svg .raw{stroke-width:1;opacity:.4}svg .smooth{stroke-width:2}\n"
    "svg .bar{stroke:none}.key{display:inline-block;white-space:nowrap;margin-right:1.2em}\n"
    ".key svg{display:inline-block;width:1.6em;height:.7em;margin-right:.4em}\n"
    "table{border-collapse:collapse;font-size:.9rem;margin:1rem 0}th,td{padding:.2rem .7rem;text-align:left;"
    "border-bottom:1px solid "
    "var(--rule);font-variant-numeric:tabular-nums}th{font-weight:600}td.n,th.n{text-align:right}\n"
    ".wide{overflow-x:auto}.scene{background:var(--panel);border:1px solid var(--rule);padding:.6rem 1rem;margin:1rem "
    "0}\n"
    ".row{display:flex;flex-wrap:wrap;gap:.8rem}.row figure{margin:0;width:150px}.row "
    "figcaption{font-size:.8rem;line-height:1.3}\n"
    "img{display:block;width:150px;height:150px}img.token{image-rendering:pixelated}img.scale{width:100%;height:.8rem}"
    "\n"
    ".scene table{margin:.5rem 0}\n";

void vv_page_head(vv_page *p, const char *title)
{
    vv_page_put(p, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
                   "<meta name=\"viewport\" content=\"width=device-width\"/>\n<title>");
    vv_page_text(p, title);
    vv_page_put(p, "</title>\n<style>\n%s</style>\n</head>\n<body>\n", style);
}

void vv_page_tail(vv_page *p) { vv_page_put(p, "</body>\n</html>\n"); }
