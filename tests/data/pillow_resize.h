/* Written by scripts/torch/make_pillow_vectors.py with Pillow 12.3.0: do not edit.
 * Fixed noise of h x w (seed = the index of the row) resized to oh x ow: FNV-1a of all bytes, and the first three. */
/* clang-format off */
static const struct {
    int h, w, oh, ow;
    uint64_t fnv;
    unsigned char first[3];
} PILLOW[] = {
    {1, 1, 1, 1, 0x418a0018a72f5293u, {20, 26, 154}},
    {1, 1, 5, 7, 0xc6b876de7268be4du, {0, 255, 255}},
    {5, 7, 1, 1, 0x01d0561ac6bebdfeu, {133, 123, 107}},
    {8, 8, 28, 28, 0xdd8ec443d02890d4u, {0, 0, 255}},
    {28, 28, 28, 28, 0xa6db011ed40629f6u, {117, 187, 199}},
    {30, 41, 30, 56, 0x5b3d8094c82d39eeu, {255, 0, 255}},
    {30, 41, 56, 41, 0x1304f08df0c1fcecu, {32, 141, 233}},
    {37, 53, 28, 56, 0xf362897f6fa3570eu, {0, 194, 255}},
    {53, 37, 84, 28, 0xf8d2b290a8910c2fu, {179, 128, 190}},
    {64, 48, 28, 28, 0x8adef23e274295c0u, {19, 101, 45}},
    {31, 64, 15, 72, 0xb7c5be5883f5716fu, {118, 75, 90}},
    {12, 89, 56, 84, 0x916b64ea55774565u, {244, 255, 0}},
    {97, 11, 28, 28, 0xd5bca28a0050f8b8u, {104, 82, 132}},
    {2, 200, 28, 112, 0x28ea93c52f17d22du, {136, 127, 121}},
    {200, 3, 56, 28, 0xe840fc2748f784f3u, {202, 133, 115}},
    {100, 100, 99, 101, 0xba9ecc72a7e2bcc8u, {0, 0, 0}},
    {73, 91, 140, 112, 0x531b0ce074173b9du, {158, 159, 67}},
    {120, 160, 28, 28, 0x4c6b7d2de1092e39u, {157, 114, 124}},
    {150, 33, 7, 90, 0xaf3ab08fa5d307bfu, {122, 126, 132}},
    {61, 127, 13, 3, 0xbee3f0e0d720b924u, {121, 127, 119}},
    {17, 1, 42, 2, 0x08561926e39664ddu, {255, 56, 122}},
    {1, 300, 3, 41, 0x47ccb6b2c28667a1u, {69, 134, 206}},
};
