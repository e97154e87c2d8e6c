#include <string.h>

#include "backend/backend.h"
#include "cli/cli.h"
#include "versavit.h"

typedef struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} command;

static const command commands[] = {
    {"init", cmd_init, "a new model with random weights, as a Hugging Face folder"},
    {"info", cmd_info, "tensors, shapes and parameter counts of a model, a file or a configuration"},
    {"encode", cmd_encode, "pictures to features, and to a picture of the features"},
    {"depth", cmd_depth, "pictures to maps of relative disparity"},
    {"segment", cmd_segment, "pictures and texts to masks of what the texts mean"},
    {"pixels", cmd_pixels, "what the vision tower sees of a picture"},
    {"tokenize", cmd_tokenize, "text to token ids, and back"},
    {"caption", cmd_caption, "pictures described in words"},
    {"ask", cmd_ask, "questions about pictures"},
    {"embed-text", cmd_embed_text, "texts to vectors, as prompts for segmentation"},
    {"train", cmd_train, "a whole run: stages, tasks, checkpoints, resume"},
    {"probe", cmd_probe, "what a linear map reads from the tower's features: depth, classes"},
    {"report", cmd_report, "a run as one page: curves, gradients, scenes, tables"},
    {"eval", cmd_eval, "a model on held-out scenes: depth, masks, answers, captions, beside what knows less"},
    {"golden", cmd_golden, "make, record and check golden files"},
    {"synth", cmd_synth, "a data set of synthetic scenes"},
    {"bench", cmd_bench, "speed, as a fraction of the matrix library in the same process"},
    {"diff", cmd_diff, "two recordings, tensor by tensor: where do they part?"},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static int help(FILE *to)
{
    fprintf(to, "usage: versavit COMMAND [ARGUMENT...]\n\n"
                "A reference implementation of VersaViT in C. Each command has --help.\n\ncommands:\n");
    for (int i = 0; i < COMMANDS; i++) fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(to, "\nexample:\n"
                "  versavit init --config tiny --seed 1 -o model\n"
                "  versavit encode --model model picture.png -o features.safetensors --pca picture-pca.png\n\n"
                "versavit --version tells how it was built and which matrix product it found.\n");
    return to == stdout ? cli_end(VV_OK, NULL) : VV_USAGE;
}

static int version(void)
{
    const vvb_info *i = vvb_get_info();
    printf("versavit %s, %s, backend %s (ABI %d)\n", VERSAVIT_VERSION, VV_REAL_NAME, i->name, VVB_ABI);
    printf("products: %s, core %s\n", i->product, i->core);
    printf("device:   %s, %d thread%s\n", i->device, i->threads, i->threads == 1 ? "" : "s");
    return cli_end(VV_OK, NULL);
}

int main(int argc, char **argv)
{
    cli_restart(argv, argc > 1 && strcmp(argv[1], "bench"));
    cli_start();
    if (argc < 2) return help(stderr);
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) return help(stdout);
    if (!strcmp(argv[1], "--version")) return version();
    for (int i = 0; i < COMMANDS; i++)
        if (!strcmp(argv[1], commands[i].name)) return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "versavit: %s: unknown command; see versavit --help\n", argv[1]);
    return VV_USAGE;
}
