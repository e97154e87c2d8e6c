#include <errno.h>
#include <float.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "cli/cli.h"

enum { MOST = 32 };

static const char *const threads_help = "number of threads (default: what this process may use)";

static void print_option(char letter, const char *name, const char *arg, const char *help)
{
    char left[64];
    snprintf(left, sizeof left, "%s%c%s--%s%s%s", letter ? "-" : " ", letter ? letter : ' ', letter ? ", " : "  ", name,
             arg ? " " : "", arg ? arg : "");
    printf("  %-30s %s\n", left, help);
}

static void print_help(const cli_usage *u, const cli_option *options)
{
    printf("usage: versavit %s\n\n%s\n", u->usage, u->summary);
    if (u->details) printf("\n%s\n", u->details);
    printf("\noptions:\n");
    for (const cli_option *o = options; o->name; o++) print_option(o->letter, o->name, o->arg, o->help);
    print_option(0, "threads", "N", threads_help);
    print_option('q', "quiet", NULL, "no progress, no summary");
    print_option('h', "help", NULL, "this text");
    printf("\nexample:\n  %s\n\n"
           "exit status: 0 done or equal, 1 different, 2 usage, 3 a file or its content, 4 memory or backend, 5 not "
           "finite\n",
           u->example);
}

static vv_status take_number(const cli_option *o, const char *text, vv_error *err)
{
    char *end = NULL;
    errno = 0;
    if (o->number) {
        const long long v = strtoll(text, &end, 10);
        if (!*text || *end || errno || v < 0)
            return vv_fail(err, VV_USAGE, "--%s: expected a whole number from 0; found \"%s\"", o->name, text);
        *o->number = v;
    } else {
        const double v = strtod(text, &end);
        if (!*text || *end || errno || !(v >= 0 && v <= DBL_MAX))
            return vv_fail(err, VV_USAGE, "--%s: expected a number from 0; found \"%s\"", o->name, text);
        *o->real = v;
    }
    return VV_OK;
}

static vv_status take(const cli_option *o, const char *text, vv_error *err)
{
    if (o->flag) *o->flag = 1;
    else if (o->text && o->number) o->text[(*o->number)++] = text;
    else if (o->text) *o->text = text;
    else return take_number(o, text, err);
    return VV_OK;
}

/* getopt's tables from ours */
static void build(const cli_option *all, int n, struct option *longs, char *letters)
{
    int l = 0;
    letters[l++] = ':';
    for (int i = 0; i < n; i++) {
        longs[i] = (struct option){all[i].name, all[i].arg ? required_argument : no_argument, NULL, 256 + i};
        if (all[i].letter) {
            letters[l++] = all[i].letter;
            if (all[i].arg) letters[l++] = ':';
        }
    }
    letters[l] = 0;
    longs[n] = (struct option){0};
}

static vv_status read_options(int argc, char **argv, const cli_usage *u, const cli_option *all, int n, vv_error *err)
{
    struct option longs[MOST + 1];
    char letters[2 * MOST + 2];
    build(all, n, longs, letters);
    opterr = 0;
    optind = 1;
    for (int c; (c = getopt_long(argc, argv, letters, longs, NULL)) != -1;) {
        if (c == '?')
            return vv_fail(err, VV_USAGE, "%s: unknown option; see versavit %s --help", argv[optind - 1], argv[0]);
        if (c == ':')
            return vv_fail(err, VV_USAGE, "%s: expected a value; see versavit %s --help", argv[optind - 1], argv[0]);
        for (int i = 0; i < n; i++)
            if (c == 256 + i || c == all[i].letter) VV_TRY(take(&all[i], optarg, err));
    }
    const int args = argc - optind;
    if (args < u->min_args || (u->max_args >= 0 && args > u->max_args))
        return vv_fail(err, VV_USAGE, "%s: expected %s; found %d argument%s", argv[0], u->usage, args,
                       args == 1 ? "" : "s");
    return VV_OK;
}

int cli_parse(int argc, char **argv, const cli_usage *u, const cli_option *options, char ***args, int *n, int *status)
{
    cli_option all[MOST] = {{0}};
    int64_t threads = 0;
    int help = 0, count = 0;
    for (const cli_option *o = options; o->name; o++) all[count++] = *o;
    all[count++] = (cli_option){.name = "threads", .arg = "N", .number = &threads};
    all[count++] = (cli_option){.name = "quiet", .letter = 'q', .flag = &cli_quiet};
    all[count++] = (cli_option){.name = "help", .letter = 'h', .flag = &help};
    vv_error err = {0};
    vv_status s = VV_OK;
    for (int i = 1; i < argc; i++) help |= !strcmp(argv[i], "--help") || !strcmp(argv[i], "-h");
    if (help) {
        print_help(u, options);
        *status = cli_end(VV_OK, NULL);
        return 0;
    }
    s = read_options(argc, argv, u, all, count, &err);
    if (s == VV_OK && threads > 4096)
        s = vv_fail(&err, VV_USAGE, "--threads: expected at most 4096; found %lld", (long long)threads);
    if (s != VV_OK) {
        *status = cli_end(s, &err);
        return 0;
    }
    vvb_init((int)threads);
    const char *what = vvb_error();
    if (what) {
        *status = cli_end(vv_fail(&err, VV_MEMORY, "%s", what), &err);
        return 0;
    }
    *args = argv + optind;
    *n = argc - optind;
    return 1;
}

vv_status cli_need(const char *option, const void *value, vv_error *err)
{
    return value ? VV_OK : vv_fail(err, VV_USAGE, "%s: expected, but not given; see --help", option);
}
