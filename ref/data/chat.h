/* Conversations as token ids, with the mask of what is learnt, in the form of Qwen (ChatML).
 *
 *   <|im_start|>user\n<|vision_start|><|image_pad|>...<|vision_end|>What is this?<|im_end|>\n
 *   <|im_start|>assistant\nA cat.<|im_end|>\n
 *                         ~~~~~~~~~~~~~~~~ supervised (and the last \n when asked for)
 *
 * The mask is made while rendering: text that looks like a header, or contains <|im_end|>, is text like any other, encoded
 * without added tokens. A text is joined with the header before it ("user\nWhat is this?") as the original tokenizer sees
 * it; an assistant's is encoded alone, because that is what a model continues when it generates.
 *
 * Sources: the chat templates of Qwen2-VL and Qwen3, LLaVA's preprocess_plain (train.py), and Qwen-VL's fine-tuning
 * (data_qwen.py), which finds answers by scanning and also supervises the newline after <|im_end|>.
 * The paper does not say which form it used: no system turn and no block of thoughts are the default here. */
#ifndef VV_CHAT_H
#define VV_CHAT_H

#include "io/tokenizer.h"

typedef enum { VV_SYSTEM, VV_USER, VV_ASSISTANT } vv_role;

typedef struct {
    vv_role role;
    const char *text;
    int64_t images; /* pictures of this turn, a user's: before the text, or where marks say */
    int marks; /* each "<image>" in the text is the place of one of them; the space around it goes (as Qwen does) */
} vv_turn;

typedef struct {
    const char *system;    /* a system turn, unless the conversation begins with its own; NULL or "": none */
    int think_empty;       /* <think>\n\n</think>\n\n before every answer, not supervised */
    int supervise_newline; /* the newline after an answer's <|im_end|> too */
} vv_chat_options;         /* zeroed: the default */

typedef struct {
    vv_ids ids;
    vv_ids labels; /* as many: the id, or VV_IGNORED */
    vv_ids pads;   /* where the <|image_pad|> are, in increasing order */
} vv_chat;         /* zeroed to begin */

void vv_chat_free(vv_chat *c); /* zeroes it */

/* All of these append to c; on failure c is as before. VV_FILE for a conversation that makes no sense and for a tokenizer
 * without a token that is needed, naming it. */

/* The turns. image_tokens[i] is the number of <|image_pad|> of the i-th picture, of `images`; the turns together have as many. */
vv_status vv_chat_render(vv_chat *c, const vv_tokenizer *t, const vv_turn *turns, int64_t n,
                         const int64_t *image_tokens, int64_t images, const vv_chat_options *o,
                         vv_error *err) VV_MUST_USE;

/* What a model continues with an answer: <|im_start|>assistant\n, and the empty block of thoughts when asked for. */
vv_status vv_chat_prompt(vv_chat *c, const vv_tokenizer *t, const vv_chat_options *o, vv_error *err) VV_MUST_USE;

/* The plain form of a warm-up: the placeholders, the caption, <|im_end|>; the last two are supervised. */
vv_status vv_chat_plain(vv_chat *c, const vv_tokenizer *t, const char *caption, int64_t image_tokens,
                        vv_error *err) VV_MUST_USE;

#endif
