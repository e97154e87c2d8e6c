/* A build that is right in many ways: VARIANT="product=lanes:8,norm=one-pass,exp=libm ..." in the environment says which. Only the
 * program that tests/judge builds for itself has this. */
#ifndef VVT_VARIANT_H
#define VVT_VARIANT_H

/* The words after "name=" up to the next comma, "" when not given. */
const char *vvt_variant(const char *name);
/* It begins with this word; the number after its colon goes to *n, which otherwise stays. */
int vvt_variant_is(const char *name, const char *word, int *n);

#endif
