/* Tables that a file brings, as scripts/table4 writes them: {"tables": [{"title", "columns": [text], "rows": [[text]]}]}. */
#include "eval/report_parts.h"

enum { FILE_BYTES = 16 << 20 };

static vv_status cells(vv_page *p, const json_t *list, const char *kind, size_t n, const char *where, vv_error *err)
{
    vv_page_put(p, "<tr>");
    for (size_t k = 0; k < n; k++) {
        const char *text = json_string_value(json_array_get(list, k));
        if (!text || json_array_size(list) != n)
            return vv_fail(err, VV_FILE, "%s: expected lists of %d texts; found another", where, (int)n);
        vv_page_put(p, k ? "<%s class=\"n\">" : "<%s>", kind);
        vv_page_text(p, text);
        vv_page_put(p, "</%s>", kind);
    }
    vv_page_put(p, "</tr>\n");
    return VV_OK;
}

static vv_status one(vv_page *p, const json_t *table, const char *where, vv_error *err)
{
    const char *title = NULL;
    const json_t *columns = NULL, *rows = NULL;
    if (!json_is_object(table)) return vv_fail(err, VV_FILE, "%s: expected an object; found something else", where);
    VV_TRY(vv_json_need(table, where, "title", err));
    VV_TRY(vv_json_string(table, where, "title", &title, err));
    VV_TRY(vv_json_need(table, where, "columns", err));
    VV_TRY(vv_json_array(table, where, "columns", &columns, err));
    VV_TRY(vv_json_need(table, where, "rows", err));
    VV_TRY(vv_json_array(table, where, "rows", &rows, err));
    const size_t n = json_array_size(columns);
    vv_page_put(p, "<p>");
    vv_page_text(p, title);
    vv_page_put(p, "</p>\n<div class=\"wide\"><table>\n");
    VV_TRY(cells(p, columns, "th", n, where, err));
    for (size_t i = 0; i < json_array_size(rows); i++) VV_TRY(cells(p, json_array_get(rows, i), "td", n, where, err));
    vv_page_put(p, "</table></div>\n");
    return VV_OK;
}

static vv_status all(vv_page *p, const json_t *root, const char *path, vv_error *err)
{
    const json_t *tables = NULL;
    char where[400];
    VV_TRY(vv_json_need(root, path, "tables", err));
    VV_TRY(vv_json_array(root, path, "tables", &tables, err));
    for (size_t i = 0; i < json_array_size(tables); i++) {
        snprintf(where, sizeof where, "%.300s: tables[%d]", path, (int)i);
        VV_TRY(one(p, json_array_get(tables, i), where, err));
    }
    return VV_OK;
}

vv_status vv_report_given(vv_page *p, const char *path, vv_error *err)
{
    json_t *root = NULL;
    if (!path) return VV_OK;
    VV_TRY(vv_json_load(&root, path, FILE_BYTES, err));
    vv_page_put(p, "<h2>Over several seeds</h2>\n<p class=\"faint\">Other runs than this one: ");
    vv_page_text(p, path);
    vv_page_put(p, "</p>\n");
    const vv_status s = all(p, root, path, err);
    json_decref(root);
    return s;
}
