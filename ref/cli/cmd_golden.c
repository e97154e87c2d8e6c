#include <string.h>

#include "cli/cli.h"
#include "cli/golden.h"

/* ---- golden ------------------------------------------------------------------------------------------------------------------ */
static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} verbs[] = {{"make", golden_make, "record a built-in case"},
             {"record", golden_record, "record a model on the inputs of another recording"},
             {"check", golden_check, "judge a candidate against a golden file"},
             {"floors", golden_floors, "add measured floors to a golden file"},
             {"list", golden_list, "the golden files there are"}};

int cmd_golden(int argc, char **argv)
{
    const size_t n = sizeof verbs / sizeof *verbs;
    for (size_t i = 0; argc > 1 && i < n; i++)
        if (!strcmp(argv[1], verbs[i].name)) return verbs[i].run(argc - 1, argv + 1);
    const int asked = argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"));
    if (argc > 1 && !asked) {
        fprintf(stderr, "versavit: golden %s: unknown verb; see versavit golden --help\n", argv[1]);
        return VV_USAGE;
    }
    FILE *to = asked ? stdout : stderr;
    fprintf(to, "usage: versavit golden VERB [ARGUMENT...]\n\nGolden files: what other backends are checked against. "
                "Each verb has --help.\n\n");
    for (size_t i = 0; i < n; i++) fprintf(to, "  %-8s %s\n", verbs[i].name, verbs[i].summary);
    fprintf(to, "\nexample:\n  versavit golden check golden/tower-micro mine\n");
    return asked ? cli_end(VV_OK, NULL) : VV_USAGE;
}
