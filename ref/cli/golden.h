/* The verbs of `versavit golden`: each like a command of its own, argv[0] being the verb. */
#ifndef VV_CLI_GOLDEN_H
#define VV_CLI_GOLDEN_H

int golden_make(int argc, char **argv); /* golden_make.c: cases and recordings */
int golden_record(int argc, char **argv);
int golden_list(int argc, char **argv);
int golden_check(int argc, char **argv); /* golden_check.c: judging, and the floors to judge by */
int golden_floors(int argc, char **argv);

#endif
