#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "io/file.h"
#include "model/versavit.h"

static const cli_usage usage = {"init --config NAME|FILE -o DIR [--seed N] [--parts LIST]",
                                "Makes a model with random weights and saves it as a Hugging Face folder.",
                                "NAME is one of data/configs: micro (tests), odd (tests), tiny (demo), small, paper "
                                "(the published model: its 675 M tower alone, "
                                "--parts vision, is 2.7 GB as F32).\n"
                                "Parts are vision, projector, text, depth, mask; all that the configuration has unless "
                                "--parts names some. With text the "
                                "tokenizer is copied too.\n"
                                "The same seed gives the same weights in every build and on any number of threads.",
                                "versavit init --config tiny --seed 1 -o model",
                                0,
                                0};

/* a model is not lost by a typing slip */
static vv_status refuse_model(const char *dir, vv_error *err)
{
    char *config = vv_asprintf("%s/config.json", dir);
    if (!config) return vv_no_memory(err, dir);
    const int there = access(config, F_OK) == 0;
    free(config);
    return there ? vv_fail(err, VV_FILE, "%s: expected no model there; found config.json (--force writes over it)", dir)
                 : VV_OK;
}

/* "vision,text" */
static vv_status parse_parts(int *parts, const char *list, vv_error *err)
{
    static const char *const name[] = {"vision", "projector", "text", "depth", "mask"};
    if (!list) return VV_OK;
    *parts = 0;
    if (!*list) return vv_fail(err, VV_USAGE, "--parts: expected vision, projector, text, depth or mask; found \"\"");
    for (const char *p = list; *p; p += *p == ',') {
        const size_t n = strcspn(p, ",");
        int k = 0;
        while (k < 5 && (strlen(name[k]) != n || strncmp(p, name[k], n))) k++;
        if (k == 5)
            return vv_fail(err, VV_USAGE, "--parts: expected vision, projector, text, depth or mask; found \"%.*s\"",
                           (int)n, p);
        *parts |= 1 << k;
        p += n;
    }
    return VV_OK;
}

int cmd_init(int argc, char **argv)
{
    const char *config = NULL, *out = NULL, *type = "F32", *list = NULL;
    int parts = VV_ALL_PARTS;
    int64_t seed = 0, shard = 0;
    int force = 0;
    const cli_option options[] = {
        {"config", 'c', "NAME|FILE", "run configuration", &config, NULL, NULL, NULL},
        {"output", 'o', "DIR", "folder to write", &out, NULL, NULL, NULL},
        {"seed", 's', "N", "seed of the weights (default 0)", NULL, &seed, NULL, NULL},
        {"parts", 'p', "LIST", "only these parts: vision,projector,text,depth,mask", &list, NULL, NULL, NULL},
        {"dtype", 0, "TYPE", "F32, BF16, F16 or F64 on disk (default F32)", &type, NULL, NULL, NULL},
        {"max-shard-bytes", 0, "N", "split into shards of at most N bytes (default 5000000000)", NULL, &shard, NULL,
         NULL},
        {"force", 'f', NULL, "write into a folder that holds a model already", NULL, NULL, NULL, &force},
        {0}};
    char **args;
    int n, status;
    if (!cli_parse(argc, argv, &usage, options, &args, &n, &status)) return status;
    vv_error err = {0};
    vv_dtype dtype = VV_DT_F32;
    vv_model m = {0};
    vv_status s = cli_need("--config", config, &err);
    if (s == VV_OK) s = cli_need("-o", out, &err);
    if (s == VV_OK && strcmp(type, "F32") && strcmp(type, "BF16") && strcmp(type, "F16") && strcmp(type, "F64"))
        s = vv_fail(&err, VV_USAGE, "--dtype: expected F32, BF16, F16 or F64; found \"%s\"", type);
    else if (s == VV_OK) (void)vv_dtype_parse(type, &dtype);
    if (s == VV_OK) s = parse_parts(&parts, list, &err);
    if (s == VV_OK && !force) s = refuse_model(out, &err);
    char *path = s == VV_OK ? cli_data_file("configs", config) : NULL;
    if (s == VV_OK) s = path ? vv_model_from_config(&m, path, parts, &err) : vv_no_memory(&err, config);
    if (s == VV_OK && list) /* a language model may do without a tokenizer (paper) */
        s = vv_model_need(&m, m.llm ? parts & ~VV_TEXT : parts, path, &err);
    if (s == VV_OK) s = vv_model_init(&m, (uint64_t)seed, &err);
    if (s == VV_OK) s = vv_dir_make(out, &err);
    if (s == VV_OK && m.tokenizer) s = vv_tokenizer_copy(m.tokenizer_dir, out, &err);
    if (s == VV_OK) s = vv_model_save(&m, out, dtype, shard, &err);
    if (s == VV_OK && !cli_quiet) {
        int64_t count = 0;
        for (int64_t i = 0; i < m.params->n; i++) count += m.params->at[i]->n;
        cli_line();
        printf("%s: %lld parameters in %lld tensors, %s\n", out, (long long)count, (long long)m.params->n, type);
    }
    free(path);
    vv_model_free(&m);
    return cli_end(s, &err);
}
