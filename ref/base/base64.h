/* Bytes as text of A-Z a-z 0-9 + /, three bytes in four characters, the last group filled up with = (RFC 4648, section 4). */
#ifndef VV_BASE64_H
#define VV_BASE64_H

#include "base/base.h"

/* In fresh memory, without line breaks; NULL without memory, or when n < 0. */
char *vv_base64(const unsigned char *bytes, int64_t n);

#endif
