/* The command: arguments, messages, progress, exit statuses. Only these files print and exit. */
#ifndef VV_CLI_H
#define VV_CLI_H

#include <stdio.h>

#include "base/json.h"

/* An option writes to one place: a text, a whole number, a real number, or a switch. With a text and a number it may be given many
 * times: text[0 .. *number) are its values, and there must be room for argc of them. */
typedef struct {
    const char *name; /* without "--" */
    char letter;      /* 0: none */
    const char *arg;  /* what --help calls its value; NULL for a switch */
    const char *help;
    const char **text;
    int64_t *number;
    double *real;
    int *flag;
} cli_option;

typedef struct {
    const char *usage;   /* after "versavit " */
    const char *summary; /* one line */
    const char *details; /* paragraphs, may be NULL */
    const char *example;
    int min_args, max_args; /* positional; max_args < 0: any number */
} cli_usage;

/* Reads argv (argv[0] is the subcommand). *args, *n receive the positional arguments. Adds --quiet, --threads, --help. Returns 1
 * when the command should go on; 0 when it is over, with the exit status in *status. */
int cli_parse(int argc, char **argv, const cli_usage *u, const cli_option *options, char ***args, int *n, int *status);

/* Prints "versavit: MESSAGE" on stderr unless the status is VV_OK or VV_DIFFERS without a text; returns the status. */
int cli_end(vv_status s, const vv_error *err);
vv_status cli_need(const char *option, const void *value,
                   vv_error *err); /* VV_USAGE: "--model: expected; see --help" */

/* Results of a measurement (freed here; NULL: no memory) with the model's folder added: printed when json, written to `out` unless NULL. */
vv_status cli_results(json_t *results, const char *model, int json, const char *out, vv_error *err);
/* Whether FILE can be written, before hours go into what it will hold; NULL is fine. Nothing is left behind. */
vv_status cli_output(const char *file, vv_error *err);
void cli_number(int width, double x, int digits); /* a column of a table, after a space; "-" when x is not finite */

extern int cli_quiet;
void cli_restart(char **argv, int sleep); /* once, with better settings of OpenBLAS and OpenMP; see restart.c */
void cli_start(void);                     /* progress, warnings, signal handlers */
void cli_line(void);                      /* ends a progress line before something else is printed */

/* "micro" is data/configs/micro.json for folder "configs"; a path stays what it is. In fresh memory. The folder data/ is looked for
 * where VERSAVIT_DATA says, in the current folder, and beside the program; ../share/versavit of an installed one is the same. */
char *cli_data_file(const char *folder, const char *name);

int cmd_init(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_encode(int argc, char **argv);
int cmd_depth(int argc, char **argv);
int cmd_segment(int argc, char **argv);
int cmd_caption(int argc, char **argv);
int cmd_ask(int argc, char **argv);
int cmd_embed_text(int argc, char **argv);
int cmd_golden(int argc, char **argv);
int cmd_diff(int argc, char **argv);
int cmd_synth(int argc, char **argv);
int cmd_train(int argc, char **argv);
int cmd_probe(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_pixels(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);

#endif
