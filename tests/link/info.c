/* A backend that gives its own name and leaves everything else to the CPU, for tests/link/run.sh. */
#include "backend/backend.h"

const vvb_info *vvb_get_info(void)
{
    static const vvb_info info = {.name = "linktest",
                                  .device = "a device of its own",
                                  .product = "its own product",
                                  .core = "none",
                                  .unit_roundoff = VV_U,
                                  .deterministic = 1,
                                  .threads = 1};
    return &info;
}
