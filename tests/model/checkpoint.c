/* SPDX-License-Identifier: Apache-2.0
 * checkpoint.c - tests of whole checkpoint folders: what is read, and each kind of malformed one with its message
 */
#include "model/checkpoint.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "folder.h"
#include "model/meta.h"
#include "tap.h"

#define INDEX         "model.safetensors.index.json"
#define T(begin, end) "{\"dtype\":\"U8\",\"shape\":[" #end "],\"data_offsets\":[" #begin "," #end "]}"

/* Two shards: a (4 bytes) in the first, b (6) and c (2) in the second. */
static void write_good(const char *dir)
{
    folder_text(dir, "config.json", "{\"model_type\":\"x\"}");
    folder_text(dir, "generation_config.json", "{\"eos_token_id\":3}");
    folder_text(
        dir, INDEX,
        "{\"metadata\":{\"total_size\":12,\"more\":[1,2.5e3,{\"x\":null}]},\"weight_map\":{\"a\":\"m1.safetensors\","
        "\"c\":\"m2.safetensors\",\"b\":\"m2.safetensors\"}}");
    folder_shard(dir, "m1.safetensors", "{\"a\":" T(0, 4) "}", 4);
    folder_shard(dir, "m2.safetensors",
                 "{\"b\":" T(0, 6) ",\"c\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[6,8]}}", 8);
}

static void test_good(void)
{
    const char *dir = folder_make();
    struct sy_checkpoint *ckpt;
    struct sy_error err = SY_ERROR_INIT;
    uint8_t bytes[6];
    size_t n;

    write_good(dir);
    if (!ok(!folder_open(dir, &ckpt, &err), "two shards with an index are read"))
        bail("%s", err.text);
    const struct sy_tensor *all = sy_checkpoint_tensors(ckpt, &n);
    ok(n == 3 && !strcmp(all[0].name, "a") && !strcmp(all[1].name, "b") && !strcmp(all[2].name, "c"),
       "tensors by name");
    is_int(sy_checkpoint_n_shards(ckpt), 2, "shards");
    const struct sy_tensor *b = sy_checkpoint_find(ckpt, "b");
    ok(b && b->shard == 1 && b->bytes == 6, "a tensor is found in its shard");
    has_str(sy_checkpoint_shard_path(ckpt, 1), "/m2.safetensors", "path of a shard");
    ok(!sy_checkpoint_find(ckpt, "bb") && !sy_checkpoint_find(ckpt, ""), "names that are not there");
    is_str(sy_checkpoint_dir(ckpt), dir, "the folder");
    ok(json_is_object(sy_checkpoint_config(ckpt)) && json_is_object(sy_checkpoint_generation_config(ckpt)),
       "both configs");
    is_int(sy_checkpoint_fetch(ckpt, b, 1, 4, bytes, &err), SY_OK, "a piece of a tensor is read");
    ok(bytes[0] == 1 && bytes[3] == 4, "its bytes are right");
    is_int((int64_t)sy_checkpoint_bytes_read(ckpt), 4, "bytes read are counted");
    is_int(sy_checkpoint_fetch(ckpt, b, 3, 4, bytes, &err), SY_ERR_INTERNAL, "reading past a tensor's end is refused");
    is_int(sy_checkpoint_fetch(ckpt, b, 7, 0, bytes, &err), SY_ERR_INTERNAL, "beginning past its end too");
    is_int(sy_checkpoint_fetch(ckpt, b, 6, 0, bytes, &err), SY_OK, "nothing at its end is fine");
    is_int(sy_checkpoint_fetch(ckpt, sy_checkpoint_find(ckpt, "c"), 0, 2, bytes, &err), SY_OK,
           "the shard's second tensor");
    ok(bytes[0] == 6 && bytes[1] == 7, "begins where the first ends");
    is_int(sy_checkpoint_verify(ckpt, &err), SY_OK, "the files are as the metadata says");
    is_int(sy_checkpoint_verify_headers(ckpt, &err), SY_OK, "and so are their headers");

    folder_shard(dir, "m1.safetensors", "{\"A\":" T(0, 4) "}", 4);
    is_int(sy_checkpoint_verify(ckpt, &err), SY_OK, "another header of the same size passes the check of sizes");
    is_int(sy_checkpoint_verify_headers(ckpt, &err), SY_ERR_DATA, "but not that of headers");
    has_str(err.text, "m1.safetensors: the header here differs from the metadata at byte 10", "which says where");
    folder_text(dir, "m1.safetensors", "short");
    is_int(sy_checkpoint_verify(ckpt, &err), SY_ERR_DATA, "a copy of another size is found");
    has_str(err.text, "m1.safetensors: the file has 5 bytes here, but", "with its size");
    is_int(sy_checkpoint_verify_headers(ckpt, &err), SY_ERR_DATA, "by both checks");
    is_int(sy_checkpoint_fetch(ckpt, all, 0, 4, bytes, &err), SY_ERR_DATA, "and when it is read");
    has_str(err.text, "tensor a: ", "with the tensor's name");
    char path[4096];
    snprintf(path, sizeof path, "%s/m1.safetensors", dir);
    unlink(path);
    is_int(sy_checkpoint_verify(ckpt, &err), SY_ERR_IO, "an absent copy is found");
    has_str(err.text, "m1.safetensors: cannot open: No such file", "and named");
    is_int(sy_checkpoint_fetch(ckpt, all, 0, 4, bytes, &err), SY_ERR_IO, "also when it is read");
    sy_checkpoint_close(ckpt);
    sy_checkpoint_close(NULL);
    folder_remove(dir);
}

/* What another node holds against its own copy. */
static void test_sample(void)
{
    const char *dir = folder_make();
    struct sy_checkpoint *ckpt;
    struct sy_buf sample = SY_BUF_INIT;
    struct sy_error err = SY_ERROR_INIT;

    write_good(dir);
    if (folder_open(dir, &ckpt, &err))
        bail("%s", err.text);
    is_int(sy_checkpoint_sample(ckpt, &sample, &err), SY_OK, "a sample of the data is taken");
    is_int(sy_checkpoint_compare(ckpt, &sample, &err), SY_OK, "the same files give the same one");
    sample.data[64] ^= 1;
    is_int(sy_checkpoint_compare(ckpt, &sample, &err), SY_ERR_DATA, "other values are found");
    char expected[300];
    snprintf(expected, sizeof expected, "%s/m2.safetensors: tensor b has other values here", dir);
    has_str(err.text, expected, "and the tensor is named");
    sample.len--;
    is_int(sy_checkpoint_compare(ckpt, &sample, &err), SY_ERR_INTERNAL, "a sample of another length is refused");
    sy_buf_fini(&sample);
    sy_checkpoint_close(ckpt);
    folder_remove(dir);
}

/* A file of the good folder is replaced (by a shard's header, or by text; dropped when both are NULL) and the folder is
 * then refused. */
static const struct {
    const char *what, *file, *header;
    size_t n_data;
    const char *text;
    enum sy_status status;
    const char *part;
} broken[] = {
    {"no config.json", "config.json", NULL, 0, NULL, SY_ERR_IO, "/config.json: cannot open: No such file"},
    {"config.json is no JSON", "config.json", NULL, 0, "{\n\"a\" 1}", SY_ERR_DATA, "/config.json:2:"},
    {"config.json is a list", "config.json", NULL, 0, "[1]", SY_ERR_DATA,
     "/config.json: expected an object, found an array of 1"},
    {"config.json names a key twice", "config.json", NULL, 0, "{\"a\":1,\"a\":2}", SY_ERR_DATA, "duplicate object key"},
    {"generation_config.json is no JSON", "generation_config.json", NULL, 0, "{", SY_ERR_DATA,
     "/generation_config.json:1:"},
    {"index is no JSON", INDEX, NULL, 0, "{\"weight_map\":\n {\"a\" \"b\"}}", SY_ERR_DATA,
     INDEX ":2:7: not valid JSON: expected ':'"},
    {"index without weight_map", INDEX, NULL, 0, "{\"metadata\":{}}", SY_ERR_DATA, INDEX ": \"weight_map\" is missing"},
    {"index with two weight_maps", INDEX, NULL, 0, "{\"weight_map\":{\"a\":\"m1.safetensors\"},\"weight_map\":{}}",
     SY_ERR_DATA, "\"weight_map\" is there twice"},
    {"index without tensors", INDEX, NULL, 0, "{\"weight_map\":{}}", SY_ERR_DATA, "\"weight_map\" names no tensors"},
    {"index nested too deeply", INDEX, NULL, 0, "{\"metadata\":[[[[[[[[[[]]]]]]]]]],\"weight_map\":{}}", SY_ERR_DATA,
     "nested too deeply"},
    {"a number that is none", INDEX, NULL, 0, "{\"metadata\":01}", SY_ERR_DATA, "bad number"},
    {"a fraction without digits", INDEX, NULL, 0, "{\"metadata\":1.}", SY_ERR_DATA, "bad number"},
    {"an exponent without digits", INDEX, NULL, 0, "{\"metadata\":1e+}", SY_ERR_DATA, "bad number"},
    {"a word that is none", INDEX, NULL, 0, "{\"metadata\":nil}", SY_ERR_DATA, "expected a value, found 'n'"},
    {"a value that is not there", INDEX, NULL, 0, "{\"metadata\":", SY_ERR_DATA, "expected a value, but the text ends"},
    {"a stray control byte", INDEX, NULL, 0, "{\"metadata\":\001}", SY_ERR_DATA, "expected a value, found byte 0x01"},
    {"shard name is no string", INDEX, NULL, 0, "{\"weight_map\":{\"a\":1}}", SY_ERR_DATA,
     "expected a string, found '1'"},
    {"tensor twice in the index", INDEX, NULL, 0,
     "{\"weight_map\":{\"a\":\"m1.safetensors\",\"a\":\"m2.safetensors\"}}", SY_ERR_DATA, "tensor a is there twice"},
    {"absolute shard name", INDEX, NULL, 0, "{\"weight_map\":{\"a\":\"/etc/m1.safetensors\"}}", SY_ERR_DATA,
     "tensor a: shard name \"/etc/m1.safetensors\" is absolute"},
    {"shard name with ..", INDEX, NULL, 0, "{\"weight_map\":{\"a\":\"x/../../m1.safetensors\"}}", SY_ERR_DATA,
     "tensor a: shard name \"x/../../m1.safetensors\" has a \"..\" component"},
    {"shard name that begins with ..", INDEX, NULL, 0, "{\"weight_map\":{\"a\":\"../m1.safetensors\"}}", SY_ERR_DATA,
     "has a \"..\" component"},
    {"empty shard name", INDEX, NULL, 0, "{\"weight_map\":{\"a\":\"\"}}", SY_ERR_DATA,
     "tensor a: shard name \"\" is empty"},
    {"shard that is no safetensors", INDEX, NULL, 0, "{\"weight_map\":{\"a\":\"config.json\"}}", SY_ERR_DATA,
     "does not end in .safetensors"},
    {"shard that is not there", INDEX, NULL, 0, "{\"weight_map\":{\"a\":\"m3.safetensors\"}}", SY_ERR_IO,
     "/m3.safetensors: cannot open the shard that model.safetensors.index.json names: No such file"},
    {"tensor missing in its shard", "m1.safetensors", "{\"x\":" T(0, 4) "}", 4, NULL, SY_ERR_DATA,
     "/m1.safetensors: tensor a is not in this shard, but the index says so"},
    {"tensor in another shard than the index says", INDEX, NULL, 0,
     "{\"weight_map\":{\"a\":\"m2.safetensors\",\"b\":\"m1.safetensors\"}}", SY_ERR_DATA,
     INDEX ": tensor a is in shard m1.safetensors, but the index says m2.safetensors"},
    {"the same name in two shards", "m1.safetensors",
     "{\"a\":" T(0, 4) ",\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[4,5]}}", 5, NULL, SY_ERR_DATA,
     "tensor b is there twice, in m1.safetensors and in m2.safetensors"},
    {"the same name twice in a shard", "m1.safetensors",
     "{\"a\":" T(0, 4) ",\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[4,5]}}", 5, NULL, SY_ERR_DATA,
     "m1.safetensors: tensor a is there twice"},
    {"empty shard", "m1.safetensors", NULL, 0, "", SY_ERR_DATA, "m1.safetensors: the file has 0 bytes, too short"},
    {"shard truncated in the length", "m1.safetensors", NULL, 0, "abc", SY_ERR_DATA,
     "m1.safetensors: the file has 3 bytes"},
    {"text instead of a shard", "m1.safetensors", NULL, 0, "version https://git-lfs.github.com/spec/v1", SY_ERR_DATA,
     "m1.safetensors: the file is text, probably a git-lfs pointer"},
    {"another file instead of a shard", "m1.safetensors", NULL, 0, "something else", SY_ERR_DATA,
     "bytes, the limit is 104857600; is it a safetensors file?"},
    {"shard truncated in the header", "m1.safetensors", NULL, 0, "\x40\0\0\0\0\0\0\0{\"a\":", SY_ERR_DATA,
     "header length is 64 bytes, but the file has only"},
    {"shard truncated in the data", "m1.safetensors", "{\"a\":" T(0, 4) "}", 3, NULL, SY_ERR_DATA,
     "m1.safetensors: tensor a: data ends at byte"},
    {"overlapping tensors", "m2.safetensors",
     "{\"b\":" T(0, 6) ",\"c\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[5,7]}}", 7, NULL, SY_ERR_DATA,
     "m2.safetensors: tensor c: data begins at byte"},
};

static void test_broken(void)
{
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        const char *dir = folder_make();
        struct sy_checkpoint *ckpt;
        struct sy_error err = SY_ERROR_INIT;
        char path[4096];
        write_good(dir);
        snprintf(path, sizeof path, "%s/%s", dir, broken[i].file);
        if (broken[i].header)
            folder_shard(dir, broken[i].file, broken[i].header, broken[i].n_data);
        else if (broken[i].text && broken[i].text[0] == 0x40)
            folder_write(dir, broken[i].file, broken[i].text, 13);
        else if (broken[i].text)
            folder_text(dir, broken[i].file, broken[i].text);
        else
            unlink(path);
        enum sy_status st = folder_open(dir, &ckpt, &err);
        if (!ok(st == broken[i].status && strstr(err.text, broken[i].part) && !strncmp(err.text, dir, strlen(dir)),
                "refused: %s", broken[i].what))
            diag("status %d, text \"%s\"", st, err.text);
        sy_checkpoint_close(ckpt);
        folder_remove(dir);
    }
}

static void expect(const char *dir, enum sy_status status, const char *part, const char *what)
{
    struct sy_checkpoint *ckpt;
    struct sy_error err = SY_ERROR_INIT;
    enum sy_status st = folder_open(dir, &ckpt, &err);

    if (!ok(st == status && (!st || strstr(err.text, part)), "%s", what))
        diag("status %d, text \"%s\"", st, err.text);
    sy_checkpoint_close(ckpt);
}

static void test_folders(void)
{
    const char *dir = folder_make();
    char path[4096], *big;

    expect("/nonexistent/checkpoint", SY_ERR_IO,
           "/nonexistent/checkpoint: cannot open the checkpoint folder: No such file", "no such folder");
    folder_text(dir, "config.json", "{}");
    snprintf(path, sizeof path, "%s/config.json", dir);
    expect(path, SY_ERR_IO, "not a folder; give the folder that holds config.json", "a file instead of a folder");
    expect(dir, SY_ERR_IO, "no model.safetensors and no model.safetensors.index.json", "no weights");
    folder_text(dir, "pytorch_model.bin", "x");
    expect(dir, SY_ERR_IO, "pytorch_model.bin is not read, save the model as safetensors", "weights in another format");
    folder_shard(dir, "model.safetensors", "{}", 0);
    expect(dir, SY_ERR_DATA, "the checkpoint has no tensors", "a shard without tensors");
    folder_shard(dir, "model.safetensors", "{\"a\":" T(0, 4) "}", 4);
    expect(dir, SY_OK, "", "a single file");
    folder_text(dir, INDEX, "{\"weight_map\":{\"a\":\"gone.safetensors\"}}");
    expect(dir, SY_OK, "", "a single file goes before an index");

    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    char moved[4200];
    snprintf(moved, sizeof moved, "%s/blob", dir);
    if (rename(path, moved) || symlink("blob", path))
        bail("cannot make a link");
    expect(dir, SY_OK, "", "a symbolic link is followed");
    unlink(path);
    if (mkfifo(path, 0644))
        bail("cannot make a fifo");
    expect(dir, SY_ERR_DATA, "model.safetensors: not a regular file", "a fifo does not hang the reader");
    unlink(path);
    snprintf(path, sizeof path, "%s/config.json", dir);
    unlink(path);
    if (mkfifo(path, 0644))
        bail("cannot make a fifo");
    expect(dir, SY_ERR_DATA, "config.json: not a regular file", "nor one in place of config.json");
    unlink(path);

    size_t n = SY_CONFIG_BYTES_MAX + 1;
    big = malloc(n);
    memset(big, ' ', n);
    folder_write(dir, "config.json", big, n);
    expect(dir, SY_ERR_DATA, "config.json: larger than the limit of 4194304 bytes", "a huge config.json");
    memset(big, '[', 1000);
    folder_write(dir, "config.json", big, 1000);
    folder_shard(dir, "model.safetensors", "{\"a\":" T(0, 4) "}", 4);
    expect(dir, SY_ERR_DATA, "config.json: nested deeper than 32 levels", "a deeply nested config.json");
    free(big);
    folder_remove(dir);
}

static void add(struct sy_buf *meta, enum sy_meta_kind kind, const char *name, const char *text, uint64_t file_bytes)
{
    struct sy_meta_record record = {kind, name, strlen(name), (const uint8_t *)text, strlen(text), file_bytes};

    if (!sy_meta_append(meta, &record))
        bail("no memory");
}

/* The block as a message that may be damaged. */
static void test_meta(void)
{
    static const struct {
        const char *what, *kinds, *part; /* c g i s (shard "s.safetensors") x (shard "../x") */
    } blocks[] = {
        {"an empty block", "", "metadata is incomplete"},
        {"a block without config", "s", "metadata is incomplete"},
        {"a block without shard", "c", "metadata is incomplete"},
        {"two configs", "ccs", "twice"},
        {"two generation configs", "cggs", "twice"},
        {"two indices", "ciis", "a second or too large index"},
        {"two shards of the same name", "ciss", "not in order of name"},
        {"a shard outside the folder", "cx", "has a \"..\" component"},
        {"other shards than the index names", "cis", "names other shards than the metadata has"},
    };
    struct sy_checkpoint *ckpt;
    char head[80] = "........{}";

    memset(head, 0, 8);
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        struct sy_buf meta = SY_BUF_INIT;
        struct sy_error err = SY_ERROR_INIT;
        for (const char *k = blocks[i].kinds; *k; k++) {
            if (*k == 's' || *k == 'x') {
                const char *json = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}";
                uint8_t bytes[128] = {(uint8_t)strlen(json)};
                memcpy(bytes + 8, json, strlen(json));
                struct sy_meta_record record = {SY_META_SHARD,      *k == 's' ? "s.safetensors" : "../x",
                                                *k == 's' ? 13 : 4, bytes,
                                                strlen(json) + 8,   strlen(json) + 9};
                sy_meta_append(&meta, &record);
            } else {
                add(&meta,
                    *k == 'c'   ? SY_META_CONFIG
                    : *k == 'g' ? SY_META_GENERATION
                                : SY_META_INDEX,
                    "n", *k == 'i' ? "{\"weight_map\":{\"a\":\"t.safetensors\"}}" : "{}", 0);
            }
        }
        enum sy_status st = sy_checkpoint_parse("d", meta.data, meta.len, &ckpt, &err);
        if (!ok(st == SY_ERR_DATA && strstr(err.text, blocks[i].part), "refused: %s", blocks[i].what))
            diag("status %d, text \"%s\"", st, err.text);
        sy_buf_fini(&meta);
    }
}

/* Every cut and every damaged byte of a good block is survived. */
static void test_damage(void)
{
    const char *dir = folder_make();
    struct sy_buf meta = SY_BUF_INIT;
    struct sy_error err = SY_ERROR_INIT;
    struct sy_checkpoint *ckpt;
    int n_cut = 0, n_whole = 0;

    write_good(dir);
    if (sy_checkpoint_read(dir, &meta, &err))
        bail("%s", err.text);
    for (size_t n = 0; n < meta.len; n++) {
        uint8_t *copy = malloc(n ? n : 1); /* exact, for the address sanitizer */
        memcpy(copy, meta.data, n);
        n_cut += sy_checkpoint_parse(dir, copy, n, &ckpt, &err) == SY_ERR_DATA;
        sy_checkpoint_close(ckpt);
        free(copy);
    }
    is_int(n_cut, (int64_t)meta.len, "every cut of the block is refused");
    for (size_t i = 0; i < meta.len; i++) {
        uint8_t old = meta.data[i];
        meta.data[i] ^= (uint8_t)(1 << (i % 8));
        enum sy_status st = sy_checkpoint_parse(dir, meta.data, meta.len, &ckpt, &err);
        n_whole += st == SY_OK || (st == SY_ERR_DATA && *err.text);
        sy_checkpoint_close(ckpt);
        meta.data[i] = old;
    }
    is_int(n_whole, (int64_t)meta.len, "every flipped bit is survived");
    sy_buf_fini(&meta);
    folder_remove(dir);
}

/* Many threads read through one handle. */
struct reader {
    struct sy_checkpoint *ckpt;
    int n_right;
};

static void *read_all(void *arg)
{
    struct reader *r = arg;
    const struct sy_tensor *b = sy_checkpoint_find(r->ckpt, "b");
    uint8_t bytes[6];

    for (int i = 0; i < 200; i++) {
        memset(bytes, 0xee, sizeof bytes);
        if (!sy_checkpoint_fetch(r->ckpt, b, 0, 6, bytes, NULL) && bytes[0] == 0 && bytes[5] == 5)
            r->n_right++;
    }
    return NULL;
}

static void test_threads(void)
{
    const char *dir = folder_make();
    struct sy_checkpoint *ckpt;
    struct sy_error err = SY_ERROR_INIT;
    struct reader readers[4];
    pthread_t threads[4];
    int n_right = 0;

    write_good(dir);
    if (folder_open(dir, &ckpt, &err))
        bail("%s", err.text);
    for (int i = 0; i < 4; i++) {
        readers[i] = (struct reader){ckpt, 0};
        if (pthread_create(&threads[i], NULL, read_all, &readers[i]))
            bail("no thread");
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        n_right += readers[i].n_right;
    }
    is_int(n_right, 800, "four threads read right bytes through one handle");
    is_int((int64_t)sy_checkpoint_bytes_read(ckpt), 4800, "and all of them are counted");
    sy_checkpoint_close(ckpt);
    folder_remove(dir);
}

int main(void)
{
    test_good();
    test_sample();
    test_broken();
    test_folders();
    test_meta();
    test_damage();
    test_threads();
    done();
    return tap_exit();
}
