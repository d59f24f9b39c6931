/* cmd_quantize.c - 'gathermm quantize': quantize a safetensors file or a checkpoint into MLX's layout. */
/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "command.h"
#include "json_file.h"
#include "output.h"
#include "quantize_options.h"
#include "quantize_plan.h"
#include "quantize_write.h"

static const struct option options[] = {
    QUANTIZE_OPTIONS("mode"),
    {NULL, 0, NULL, 0},
};

/* ---- the summary ------------------------------------------------------------------------------------------------- */

/* A name with components that are numbers as *: the same tensor of all layers and experts is one line. */
static char *collapse(const char *name)
{
    char *text = must_format("%s", name), *to = text;

    for (const char *from = name; *from;) {
        size_t length = strcspn(from, "."), digits = strspn(from, "0123456789");
        if (digits == length && length > 0)
            *to++ = '*';
        else {
            memmove(to, from, length);
            to += length;
        }
        from += length;
        if (*from)
            *to++ = *from++;
    }
    *to = '\0';
    return text;
}

/* Kept tensors of one collapsed name and one reason. */
typedef struct kept_group {
    char *name;
    const char *first, *reason;
    size_t count;
    size_t order;
} kept_group;

static int by_group(const void *a, const void *b)
{
    const kept_group *x = a, *y = b;
    int names = strcmp(x->name, y->name);

    return names ? names : strcmp(x->reason, y->reason);
}

static int by_order(const void *a, const void *b)
{
    const kept_group *x = a, *y = b;

    return (x->order > y->order) - (x->order < y->order);
}

static void print_kept(const quantize_plan *plan)
{
    size_t count = 0, groups = 0;
    kept_group *list = must_allocate(plan->count, sizeof *list);
    table t = {.alignment = "lrl"};

    for (size_t i = 0; i < plan->count; i++) {
        const planned *p = &plan->tensors[i];
        const char *name = p->source->tensor.name;
        if (!p->quantize)
            list[count++] = (kept_group){collapse(name), name, p->reason, 1, i};
    }
    qsort(list, count, sizeof *list, by_group);
    for (size_t i = 0; i < count; i++) {
        kept_group *last = groups ? &list[groups - 1] : NULL;
        if (last && !by_group(last, &list[i])) {
            last->count++;
            last->order = last->order < list[i].order ? last->order : list[i].order;
            free(list[i].name);
        } else
            list[groups++] = list[i];
    }
    qsort(list, groups, sizeof *list, by_order);
    for (size_t i = 0; i < groups; i++) {
        table_add(&t, "%s", list[i].count > 1 ? list[i].name : list[i].first);
        table_add(&t, "%zu", list[i].count);
        table_add(&t, "%s", list[i].reason);
        free(list[i].name);
    }
    if (count)
        printf("kept, and why:\n");
    table_print(&t, 2);
    free(list);
}

static double bits_per_weight(const quantize_plan *plan)
{
    return plan->parameters ? (double)plan->bytes_after * 8 / (double)plan->parameters : 0;
}

static void print_summary(const quantize_request *request, const quantize_plan *plan, const quantize_outcome *outcome)
{
    char before[24], after[24], *out = escape_text(request->out);
    const gmm_quantize_options *o = &request->options;

    print_kept(plan);
    print_names(request->dry_run ? "files to copy: " : "files copied: ", outcome->copied, outcome->copied_count);
    print_names("not copied: ", outcome->left_out, outcome->left_out_count);
    printf("%s%s: %s, %d bits, groups of %d\n", request->dry_run ? "dry run, nothing written to " : "", out, o->mode,
           (int)o->bits, (int)o->group_size);
    printf("%zu tensor%s quantized, %zu kept", plan->quantized, plan->quantized == 1 ? "" : "s",
           plan->count - plan->quantized);
    if (!request->dry_run)
        printf("; %.1f seconds", outcome->seconds);
    printf("\n%s before, %s after, %.3f bits per weight\n", bytes_text(plan->bytes_before, before),
           bytes_text(plan->bytes_after, after), bits_per_weight(plan));
    free(out);
}

static void print_summary_json(const quantize_request *request, const quantize_plan *plan,
                               const quantize_outcome *outcome)
{
    json_t *root = json_object(), *quantized = json_array(), *kept = json_array();
    const gmm_quantize_options *o = &request->options;

    for (size_t i = 0; i < plan->count; i++) {
        const planned *p = &plan->tensors[i];
        if (p->quantize)
            json_array_append_new(quantized, json_text(p->source->tensor.name));
        else
            json_array_append_new(kept, json_pack("{s:o, s:o}", "name", json_text(p->source->tensor.name), "reason",
                                                  json_text(p->reason)));
    }
    json_object_set_new(root, "in", json_text(request->in));
    json_object_set_new(root, "out", json_text(request->out));
    json_object_set_new(root, "dry_run", json_boolean(request->dry_run));
    json_object_set_new(root, "mode", json_text(o->mode));
    json_object_set_new(root, "bits", json_integer(o->bits));
    json_object_set_new(root, "group_size", json_integer(o->group_size));
    json_object_set_new(root, "quantized", quantized);
    json_object_set_new(root, "kept", kept);
    json_object_set_new(root, "files_copied", names_json(outcome->copied, outcome->copied_count));
    json_object_set_new(root, "files_not_copied", names_json(outcome->left_out, outcome->left_out_count));
    json_object_set_new(root, "bytes_before", json_integer((json_int_t)plan->bytes_before));
    json_object_set_new(root, "bytes_after", json_integer((json_int_t)plan->bytes_after));
    json_object_set_new(root, "bits_per_weight", json_real(bits_per_weight(plan)));
    json_object_set_new(root, "overflows", json_integer((json_int_t)outcome->overflows));
    json_object_set_new(root, "seconds", request->dry_run ? json_null() : json_real(outcome->seconds));
    print_json(root);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static int check_request(quantize_request *request)
{
    struct stat info;
    int status = quantize_check_options(&cmd_quantize, "mode", request);

    if (!status && lstat(request->out, &info) == 0) {
        complain("%s is there already, and nothing is ever overwritten", request->out);
        status = EXIT_COULD_NOT_RUN;
    }
    return status;
}

static int quantize(quantize_request *request)
{
    checkpoint c;
    quantize_plan plan;
    quantize_outcome outcome = {0};
    int status = checkpoint_open(request->in, &c);

    if (status)
        return status;
    status = quantize_plan_make(&c, request, &plan);
    if (!status)
        status = quantize_list_files(&c, &outcome);
    if (!status && !request->dry_run)
        status = quantize_write(&c, request, &plan, &outcome);
    if (!status && outcome.overflows)
        complain("warning: %zu numbers are too large for --dtype and became infinite", outcome.overflows);
    if (!status && request->json)
        print_summary_json(request, &plan, &outcome);
    else if (!status && !request->quiet)
        print_summary(request, &plan, &outcome);
    quantize_outcome_free(&outcome);
    quantize_plan_free(&plan);
    checkpoint_close(&c);
    return status;
}

static int run(int argc, char **argv)
{
    quantize_request request = {.options.size = sizeof request.options};
    int option, status = EXIT_FINE;

    while ((option = next_option(&cmd_quantize, argc, argv, options)) != -1) {
        if (option == 'h') {
            print_help(&cmd_quantize);
            goto done;
        }
        if (!quantize_read_option(&cmd_quantize, &request, option)) {
            status = EXIT_USAGE;
            goto done;
        }
    }
    if (argc - optind != 2) {
        status = usage_error(&cmd_quantize, "IN and OUT are expected, and there %s %d argument%s",
                             argc - optind == 1 ? "is" : "are", argc - optind, argc - optind == 1 ? "" : "s");
        goto done;
    }
    char *out = trim_slashes(argv[optind + 1]);
    request.in = argv[optind];
    request.out = out;
    status = check_request(&request);
    if (!status)
        status = quantize(&request);
    free(out);
done:
    quantize_request_free(&request);
    return status;
}

const command cmd_quantize = {
    .name = "quantize",
    .arguments = "IN OUT --mode MODE [OPTION]...",
    .summary = "quantize a safetensors file or a checkpoint into MLX's layout",
    .help = "Quantize every f32, f16 or bf16 tensor named *.weight of rank 2 or more whose\n"
            "last axis is a multiple of the group size; keep the others. IN is a safetensors\n"
            "file or a checkpoint directory; OUT, of the same kind, must not exist.\n\n"
            "options:\n"
            "  --mode MODE           weight format, see below\n"
            "  --bits B              bits of a code\n"
            "  --group-size G        weights that share a scale\n"
            "  --exclude GLOB        keep tensors whose name, or module (the name without\n"
            "                        .weight), matches; may be repeated\n"
            "  --include GLOB        quantize only what matches; may be repeated\n"
            "  --exponent-rule RULE  mxfp4, mxfp8: nearest or up (default, nothing saturates)\n"
            "  --tie-rule RULE       mxfp4, mxfp8, nvfp4: smaller (default, as MLX on CPUs)\n"
            "                        or even (as MLX on GPUs)\n"
            "  --dtype TYPE          cast floating tensors to f32, f16 or bf16 first: those\n"
            "                        that are kept, and affine scales and biases, have it\n"
            "  --threads N           use at most N threads\n"
            "  --json                print the summary as JSON\n"
            "  --quiet               print no summary and no progress bar\n"
            "  --dry-run             say what would be done, write nothing\n"
            "  -h, --help            show this text\n",
    .more_help = quantize_print_modes,
    .run = run,
};
