/* golden/manifest.json: which golden files a folder holds.
 *   {"format": 2, "cases": [{"name", "about", "sha256" of golden.safetensors, "bytes", "tensors", "tasks": ["u1/vision", ...]}, ...]} */
#ifndef VV_GOLDEN_MANIFEST_H
#define VV_GOLDEN_MANIFEST_H

#include "base/json.h"

/* Makes DIR/manifest.json from the folders DIR/NAME with a golden.safetensors, in the order of their names. */
vv_status vv_manifest_write(const char *dir, vv_error *err) VV_MUST_USE;

/* *root is the caller's (json_decref); *cases its list, every one with all fields. */
vv_status vv_manifest_load(json_t **root, const json_t **cases, const char *dir, vv_error *err) VV_MUST_USE;

#endif
