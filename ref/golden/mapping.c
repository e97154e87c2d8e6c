#include "golden/mapping.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/mapping_parts.h"

static const int64_t FILE_BYTES = 16 << 20;
enum { NAME_MOST = 4096, MATCH_LIMIT = 1000000 };

typedef struct {
    const json_t *to, *with, *sizes, *steps;
    int axis, drop, keep;
    pcre2_code *code;
    pcre2_match_data *match;
    char where[64 + 512]; /* "FILE: rules[3]" */
} rule;

struct vv_mapping {
    json_t *root;
    rule *rules;
    int64_t n;
    pcre2_match_context *limits;
};

/* ---- reading ------------------------------------------------------------------------------------------------------------ */
static vv_status names(const json_t *list, const char *where, const char *field, vv_error *err)
{
    size_t i;
    const json_t *x;
    char found[80];
    json_array_foreach((json_t *)list, i, x) if (!json_is_string(x)) return vv_fail(
        err, VV_FILE, "%s: %s[%d]: expected a name; found %s", where, field, (int)i,
        vv_json_found(x, found, sizeof found));
    return VV_OK;
}

static vv_status read_pattern(rule *r, const json_t *item, vv_error *err)
{
    const char *from = NULL;
    int code = 0;
    PCRE2_SIZE at = 0;
    char text[120];
    VV_TRY(vv_json_need(item, r->where, "from", err));
    VV_TRY(vv_json_string(item, r->where, "from", &from, err));
    const uint32_t flags = PCRE2_ANCHORED | PCRE2_ENDANCHORED;
    r->code = pcre2_compile((PCRE2_SPTR)from, PCRE2_ZERO_TERMINATED, flags, &code, &at, NULL);
    if (!r->code && code != PCRE2_ERROR_HEAP_FAILED) {
        pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
        return vv_fail(err, VV_FILE, "%s: from: expected a regular expression; %s at character %d of \"%.80s\"",
                       r->where, text, (int)at, from);
    }
    if (r->code) r->match = pcre2_match_data_create_from_pattern(r->code, NULL);
    return r->match ? VV_OK : vv_no_memory(err, r->where);
}

static vv_status read_rule(rule *r, const json_t *item, vv_error *err)
{
    static const char *const keys[] = {"about", "from", "to", "with", "axis", "sizes", "drop", "keep", "do", NULL};
    int64_t axis = 0;
    size_t i;
    const json_t *x;
    char found[80];
    if (!json_is_object(item))
        return vv_fail(err, VV_FILE, "%s: expected an object { }; found %s", r->where,
                       vv_json_found(item, found, sizeof found));
    VV_TRY(vv_json_only(item, r->where, keys, err));
    VV_TRY(read_pattern(r, item, err));
    VV_TRY(vv_json_array(item, r->where, "with", &r->with, err));
    VV_TRY(names(r->with, r->where, "with", err));
    VV_TRY(vv_json_array(item, r->where, "sizes", &r->sizes, err));
    VV_TRY(vv_json_int(item, r->where, "axis", 0, VV_ST_MAXDIM - 1, &axis, err));
    VV_TRY(vv_json_bool(item, r->where, "drop", &r->drop, err));
    VV_TRY(vv_json_bool(item, r->where, "keep", &r->keep, err));
    VV_TRY(vv_json_array(item, r->where, "do", &r->steps, err));
    json_array_foreach((json_t *)r->steps, i, x) VV_TRY(vv_map_step_check(x, r->where, err));
    r->axis = (int)axis;
    r->to = json_object_get(item, "to");
    if (json_is_array(r->to)) VV_TRY(names(r->to, r->where, "to", err));
    if (r->to && !json_is_string(r->to) && json_array_size(r->to) == 0)
        return vv_fail(err, VV_FILE, "%s: to: expected a name or a list of names; found %s", r->where,
                       vv_json_found(r->to, found, sizeof found));
    if (r->sizes && (!json_is_array(r->to) || json_array_size(r->to) != json_array_size(r->sizes)))
        return vv_fail(err, VV_FILE, "%s: sizes: expected as many as \"to\" has names", r->where);
    return VV_OK;
}

static vv_status read_rules(vv_mapping *m, const char *path, vv_error *err)
{
    static const char *const keys[] = {"about", "rules", NULL};
    const json_t *list = NULL;
    VV_TRY(vv_json_load(&m->root, path, FILE_BYTES, err));
    VV_TRY(vv_json_only(m->root, path, keys, err));
    VV_TRY(vv_json_need(m->root, path, "rules", err));
    VV_TRY(vv_json_array(m->root, path, "rules", &list, err));
    const int64_t n = (int64_t)json_array_size(list);
    m->limits = pcre2_match_context_create(NULL);
    m->rules = vv_calloc(n, sizeof *m->rules);
    if (!m->rules || !m->limits) return vv_no_memory(err, path);
    pcre2_set_match_limit(m->limits, MATCH_LIMIT);
    for (; m->n < n; m->n++) {
        rule *r = &m->rules[m->n];
        snprintf(r->where, sizeof r->where, "%.500s: rules[%lld]", path, (long long)m->n);
        const vv_status s = read_rule(r, json_array_get(list, (size_t)m->n), err);
        if (s != VV_OK) {
            m->n++; /* what it has is freed */
            return s;
        }
    }
    return VV_OK;
}

vv_status vv_mapping_load(vv_mapping **out, const char *path, vv_error *err)
{
    vv_mapping *m = vv_calloc(1, sizeof *m);
    *out = NULL;
    if (!m) return vv_no_memory(err, path);
    const vv_status s = read_rules(m, path, err);
    if (s == VV_OK) *out = m;
    else vv_mapping_free(m);
    return s;
}

void vv_mapping_free(vv_mapping *m)
{
    if (!m) return;
    for (int64_t i = 0; i < m->n; i++) {
        pcre2_match_data_free(m->rules[i].match);
        pcre2_code_free(m->rules[i].code);
    }
    pcre2_match_context_free(m->limits);
    free(m->rules);
    json_decref(m->root);
    free(m);
}

/* ---- names -------------------------------------------------------------------------------------------------------------- */
typedef struct {
    const vv_golden *g;
    int64_t tensors, numbers; /* that there may be, and that one may have: rules that double what they find must end */
} target;

/* u<update>/<task> of the first activation */
static void first_task(const vv_golden *g, const char **text, size_t *n)
{
    *text = "u1/vision";
    *n = strlen(*text);
    for (int64_t i = 0; i < g->n; i++)
        if (g->entry[i].kind == VV_KIND_ACT) {
            *text = g->entry[i].task;
            *n = (size_t)g->entry[i].task_n;
            return;
        }
}

/* the template with what the pattern's groups matched in `name`; fresh memory */
static vv_status expand(char **out, const rule *r, const char *name, const char *template, const target *to,
                        vv_error *err)
{
    char buf[NAME_MOST];
    size_t used = 0;
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(r->match);
    const int groups = (int)pcre2_get_ovector_count(r->match);
    for (const char *p = template; *p; p++) {
        const char *from = p;
        size_t n = 1;
        if (*p == '$') {
            p++;
            const int k = *p - '0';
            if (*p == 'T') first_task(to->g, &from, &n);
            else if (*p == '$') from = p;
            else if (k < 0 || k > 9 || k >= groups)
                return vv_fail(err, VV_FILE, "%s: \"%.80s\": expected $0 .. $%d, $T or $$ after a dollar", r->where,
                               template, groups - 1);
            else {
                n = span[2 * k] == PCRE2_UNSET ? 0 : span[2 * k + 1] - span[2 * k];
                from = n ? name + span[2 * k] : "";
            }
        }
        if (used + n >= sizeof buf) return vv_fail(err, VV_FILE, "%s: %.80s: expected a shorter name", r->where, name);
        memcpy(buf + used, from, n);
        used += n;
    }
    buf[used] = 0;
    return (*out = vv_strdup(buf)) ? VV_OK : vv_no_memory(err, r->where);
}

static vv_status rename_to(vv_candidate_tensor *t, char *key)
{
    free(t->key);
    t->key = key;
    t->e.name = key; /* what messages call it */
    return VV_OK;
}

/* ---- applying ------------------------------------------------------------------------------------------------------------- */
static vv_candidate_tensor *named(vv_candidate *c, const char *key)
{
    for (int64_t i = 0; i < c->n; i++)
        if (c->at[i].key && !strcmp(c->at[i].key, key)) return &c->at[i];
    return NULL;
}

static void leave_out(vv_candidate_tensor *t)
{
    free(t->key);
    free(t->values);
    *t = (vv_candidate_tensor){0};
}

static vv_status join(const rule *r, vv_candidate *c, int64_t at, const target *to, vv_error *err)
{
    size_t i;
    const json_t *x;
    if (json_array_size(r->with) > 0) VV_TRY(vv_map_load(c, &c->at[at], err));
    json_array_foreach((json_t *)r->with, i, x)
    {
        char *key = NULL;
        VV_TRY(expand(&key, r, c->at[at].key, json_string_value(x), to, err));
        vv_candidate_tensor *other = named(c, key);
        vv_status s =
            other && other != &c->at[at]
                ? vv_map_load(c, other, err)
                : vv_fail(err, VV_FILE, "%s: %s: expected %.120s beside it; found none", r->where, c->at[at].key, key);
        if (s == VV_OK && c->at[at].e.n + other->e.n > to->numbers)
            s = vv_fail(err, VV_FILE, "%s: %s: expected at most %lld numbers (64 times the candidate's)", r->where, key,
                        (long long)to->numbers);
        if (s == VV_OK) s = vv_map_join(&c->at[at], other, r->axis, r->where, err);
        free(key);
        if (s != VV_OK) return s;
        if (!r->keep) leave_out(other);
    }
    return VV_OK;
}

static vv_status split(const rule *r, vv_candidate *c, int64_t at, const target *to, vv_error *err)
{
    const int64_t n = (int64_t)json_array_size(r->to);
    VV_TRY(vv_map_load(c, &c->at[at], err));
    const int64_t all = r->axis < c->at[at].e.ndim ? c->at[at].e.shape[r->axis] : -1;
    int64_t first = 0;
    if (!r->sizes && all % n)
        return vv_fail(err, VV_FILE, "%s: %s: expected an axis of %lld equal pieces; found %lld", r->where,
                       c->at[at].key, (long long)n, (long long)all);
    for (int64_t i = 0; i < n; i++) {
        vv_candidate_tensor piece = {0};
        const int64_t size = r->sizes ? json_integer_value(json_array_get(r->sizes, (size_t)i)) : all / n;
        char *key = NULL;
        VV_TRY(expand(&key, r, c->at[at].key, json_string_value(json_array_get(r->to, (size_t)i)), to, err));
        const vv_status s = vv_map_piece(&piece, &c->at[at], r->axis, first, size, r->where, err);
        if (s != VV_OK) {
            free(key);
            return s;
        }
        (void)rename_to(&piece, key);
        VV_TRY(vv_candidate_add(c, piece, err));
        if (c->n > to->tensors)
            return vv_fail(err, VV_FILE, "%s: expected at most %lld tensors (64 times the candidate's and 4096)",
                           r->where, (long long)to->tensors);
        first += size;
    }
    if (first != all)
        return vv_fail(err, VV_FILE, "%s: %s: sizes: expected them to add up to %lld; found %lld", r->where,
                       c->at[at].key, (long long)all, (long long)first);
    leave_out(&c->at[at]);
    return VV_OK;
}

static vv_status apply_to(const rule *r, vv_candidate *c, int64_t at, const target *to, vv_error *err)
{
    size_t i;
    const json_t *step;
    if (r->drop) {
        leave_out(&c->at[at]);
        return VV_OK;
    }
    VV_TRY(join(r, c, at, to, err));
    json_array_foreach((json_t *)r->steps, i, step) VV_TRY(vv_map_step(c, &c->at[at], step, to->g, r->where, err));
    if (json_is_array(r->to)) return split(r, c, at, to, err);
    if (!r->to) return VV_OK;
    char *key = NULL;
    VV_TRY(expand(&key, r, c->at[at].key, json_string_value(r->to), to, err));
    return rename_to(&c->at[at], key);
}

static vv_status apply_rule(const rule *r, const pcre2_match_context *limits, vv_candidate *c, const target *to,
                            vv_error *err)
{
    const int64_t n = c->n; /* not to what it makes itself */
    for (int64_t i = 0; i < n; i++) {
        if (!c->at[i].key) continue;
        const int got = pcre2_match(r->code, (PCRE2_SPTR)c->at[i].key, PCRE2_ZERO_TERMINATED, 0, 0, r->match,
                                    (pcre2_match_context *)limits);
        if (got == PCRE2_ERROR_NOMATCH) continue;
        if (got < 0)
            return vv_fail(err, VV_FILE, "%s: %s: expected a pattern that is done sooner", r->where, c->at[i].key);
        VV_TRY(apply_to(r, c, i, to, err));
    }
    int64_t kept = 0;
    for (int64_t i = 0; i < c->n; i++)
        if (c->at[i].key) c->at[kept++] = c->at[i];
    c->n = kept;
    return VV_OK;
}

vv_status vv_mapping_apply(const vv_mapping *m, vv_candidate *c, const vv_golden *g, vv_error *err)
{
    target to = {.g = g, .tensors = 64 * c->n + 4096};
    for (int64_t i = 0; i < c->n; i++) to.numbers += 64 * c->at[i].e.n;
    for (int64_t k = 0; k < m->n; k++) VV_TRY(apply_rule(&m->rules[k], m->limits, c, &to, err));
    vv_candidate_sort(c);
    return VV_OK;
}
