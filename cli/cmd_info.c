/* cmd_info.c - 'gathermm info': the library, this CPU, the kernels, the BLAS libraries; the text for a bug report. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "gathermm/blas.h"
#include "gathermm/gathermm.h"
#include "json_file.h"
#include "machine_text.h"
#include "output.h"

enum {
    OPTION_JSON = 256,
    OPTION_CPU_MASK,
    OPTION_BLAS
};

static const struct option options[] = {
    {"json", no_argument, NULL, OPTION_JSON},
    {"cpu-mask", required_argument, NULL, OPTION_CPU_MASK},
    {"blas", required_argument, NULL, OPTION_BLAS},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* Have the context's BLAS checked for calls of all sizes: to explain a product is to check its class. */
static void check_classes(const gmm_context *context)
{
    static const int64_t sizes[] = {24, 90, 150, 250, 450, 576};
    float *memory = calloc(3 * 576 * 576, sizeof *memory);
    char text[1024];

    for (size_t i = 0; memory && i < 2 * (sizeof sizes / sizeof sizes[0]); i++) {
        const int64_t size = sizes[i / 2], shape[] = {size, size}, turned[] = {1, size};
        const gmm_array lhs = {.data = memory, .dtype = GMM_F32, .ndim = 2, .shape = shape};
        const gmm_array rhs = {.data = memory + size * size,
                               .dtype = GMM_F32,
                               .ndim = 2,
                               .shape = shape,
                               .strides = i % 2 ? turned : NULL};
        const gmm_product product = {.size = sizeof product, .lhs = &lhs, .rhs = &rhs};
        if (gmm_explain(context, &product, text, sizeof text))
            break;
    }
    free(memory);
}

static const char *provider_text(const gmm_provider_info *info)
{
    return info->classes_refused                        ? "broken by some classes of calls, which it is not used for"
           : info->state == GMM_PROVIDER_STATE_REMEDIED ? "kept if C holds zeros, as it always does"
                                                        : "kept";
}

static json_t *provider_json(const gmm_context *context)
{
    gmm_provider_info info;

    if (!gmm_context_provider(context, &info))
        return json_null();
    check_classes(context);
    gmm_context_provider(context, &info);
    return json_pack("{s:o, s:o, s:s, s:o, s:i, s:s, s:i, s:i, s:i, s:o}", "path", json_text(info.library.path),
                     "version", json_text(info.library.version), "build_id", info.build_id, "symbol",
                     json_text(info.symbol), "integer_bits", info.library.integer_bits, "contract",
                     provider_text(&info), "classes_checked", info.classes_checked, "classes_remedied",
                     info.classes_remedied, "classes_refused", info.classes_refused, "finding",
                     *info.finding ? json_text(info.finding) : json_null());
}

static void print_provider(const gmm_context *context)
{
    gmm_provider_info info;

    if (!gmm_context_provider(context, &info))
        return;
    check_classes(context);
    gmm_context_provider(context, &info);
    char *path = escape_text(info.library.path), *version = escape_text(info.library.version);
    printf("\nBLAS for dense f32 products of many rows (--blas)\n");
    printf("  library   %s\n", path);
    printf("  version   %s\n", *version ? version : "not told");
    printf("  build-id  %s\n", *info.build_id ? info.build_id : "none");
    printf("  function  %s, %d-bit integers\n", info.symbol, (int)info.library.integer_bits);
    printf("  contract  %s\n", provider_text(&info));
    printf("  checked   %d classes of calls: %d need zeros in C, %d are refused\n", (int)info.classes_checked,
           (int)info.classes_remedied, (int)info.classes_refused);
    if (*info.finding)
        printf("  finding   %s\n", info.finding);
    free(path);
    free(version);
}

static json_t *numbers(const int32_t *values)
{
    json_t *list = json_array();

    for (; values && *values; values++)
        json_array_append_new(list, json_integer(*values));
    return list;
}

static json_t *features_json(const gmm_context *context)
{
    gmm_cpu_feature_info feature;
    json_t *list = json_array();

    for (size_t i = 0; gmm_cpu_feature_at(context, i, &feature); i++)
        json_array_append_new(list, json_pack("{s:s, s:b, s:b}", "name", feature.name, "present", feature.present,
                                              "masked", feature.masked));
    return list;
}

static json_t *kernels_json(const gmm_context *context)
{
    gmm_kernel_info kernel;
    json_t *list = json_array();

    for (size_t i = 0; gmm_kernel_at(context, i, &kernel); i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:i, s:i, s:b, s:b}", "name", kernel.name, "body",
                                              kernel.body, "reads", kernel.reads, "mr", kernel.mr, "nr", kernel.nr,
                                              "usable", kernel.usable, "used", kernel.used));
    return list;
}

static json_t *formats_json(void)
{
    gmm_format_info format;
    json_t *list = json_array();

    for (size_t i = 0; gmm_format_at(i, &format); i++)
        json_array_append_new(list, json_pack("{s:s, s:b, s:b, s:o, s:o}", "mode", format.mode, "quantized",
                                              format.quantized, "has_biases", format.has_biases, "group_sizes",
                                              numbers(format.group_sizes), "bits", numbers(format.bits)));
    return list;
}

static json_t *blas_json(void)
{
    gmm_blas_info blas;
    json_t *list = json_array();

    for (size_t i = 0; gmm_blas_at(i, &blas); i++)
        if (*blas.path)
            json_array_append_new(list,
                                  json_pack("{s:s, s:o, s:o, s:i, s:b, s:b}", "name", blas.name, "path",
                                            json_text(blas.path), "version", json_text(blas.version), "integer_bits",
                                            blas.integer_bits, "cblas", blas.has_cblas, "fortran", blas.has_fortran));
    return list;
}

static void print_info_json(const gmm_context *context, const char *cpu_mask)
{
    const char *variable = getenv("GMM_CPU_MASK");
    char *model = cpu_model(), *system = system_text();
    json_t *root = json_object();

    json_object_set_new(root, "version", json_text(gmm_version()));
    json_object_set_new(root, "build", json_text(gmm_build_info()));
    json_object_set_new(root, "system", json_text(system));
    json_object_set_new(root, "cpu", json_text(model));
    json_object_set_new(root, "logical_cpus", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
    json_object_set_new(root, "threads", json_integer(gmm_context_threads(context)));
    json_object_set_new(root, "GMM_CPU_MASK", variable ? json_text(variable) : json_null());
    json_object_set_new(root, "cpu_mask", cpu_mask ? json_text(cpu_mask) : json_null());
    json_object_set_new(root, "features", features_json(context));
    json_object_set_new(root, "formats", formats_json());
    json_object_set_new(root, "kernels", kernels_json(context));
    json_object_set_new(root, "blas", blas_json());
    json_object_set_new(root, "provider", provider_json(context));
    print_json(root);
    free(model);
    free(system);
}

/* "present, masked, absent" as three lines of words. */
static void print_features(const gmm_context *context)
{
    static const char *const titles[] = {"in use", "masked", "absent"};

    for (int state = 0; state < 3; state++) {
        gmm_cpu_feature_info feature;
        bool any = false;
        printf("  %-9s", titles[state]);
        for (size_t i = 0; gmm_cpu_feature_at(context, i, &feature); i++)
            if (state == (!feature.present ? 2 : feature.masked ? 1 : 0)) {
                printf(" %s", feature.name);
                any = true;
            }
        printf("%s\n", any ? "" : " none");
    }
}

/* "2, 3, 4 (4)": all, and the default. */
static void add_numbers(table *t, const int32_t *values)
{
    if (!values) {
        table_add(t, "-");
        return;
    }
    char *list = number_list(values);
    if (values[1])
        table_add(t, "%s (%d)", list, (int)values[0]);
    else
        table_add(t, "%s", list);
    free(list);
}

static void print_formats(void)
{
    gmm_format_info format;
    table t = {.alignment = "lll"};

    table_add(&t, "format");
    table_add(&t, "bits");
    table_add(&t, "group sizes");
    for (size_t i = 0; gmm_format_at(i, &format); i++) {
        table_add(&t, "%s", format.mode);
        add_numbers(&t, format.bits);
        add_numbers(&t, format.group_sizes);
    }
    table_print(&t, 0);
}

static void print_kernels(const gmm_context *context)
{
    gmm_kernel_info kernel;
    table t = {.alignment = "lllrl"};
    static const char *const titles[] = {"kernel", "body", "reads", "tile", "state"};

    for (size_t i = 0; i < 5; i++)
        table_add(&t, "%s", titles[i]);
    for (size_t i = 0; gmm_kernel_at(context, i, &kernel); i++) {
        table_add(&t, "%s", kernel.name);
        table_add(&t, "%s", kernel.body);
        table_add(&t, "%s", kernel.reads);
        table_add(&t, "%dx%d", (int)kernel.mr, (int)kernel.nr);
        table_add(&t, "%s", kernel.used ? "used" : kernel.usable ? "usable" : "-");
    }
    table_print(&t, 0);
}

static void print_blas(void)
{
    gmm_blas_info blas;
    bool any = false;

    for (size_t i = 0; gmm_blas_at(i, &blas); i++) {
        if (!*blas.path)
            continue;
        char *path = escape_text(blas.path), *version = escape_text(blas.version);
        printf("%s  %s: %s\n", any ? "" : "BLAS libraries (found here, not used)\n", blas.name, path);
        printf("    %s%s", version, *version ? "; " : "");
        if (blas.integer_bits)
            printf("%d-bit integers; ", (int)blas.integer_bits);
        printf("%s\n", blas.has_cblas && blas.has_fortran ? "cblas and fortran interfaces"
                       : blas.has_cblas                   ? "cblas interface"
                       : blas.has_fortran                 ? "fortran interface"
                                                          : "no sgemm");
        free(path);
        free(version);
        any = true;
    }
    if (!any)
        printf("BLAS libraries: none found\n");
}

static void print_info(const gmm_context *context, const char *cpu_mask)
{
    const char *variable = getenv("GMM_CPU_MASK");
    char *model = cpu_model(), *system = system_text();

    printf("gathermm %s\n", gmm_version());
    printf("  build     %s\n", gmm_build_info());
    printf("  system    %s\n", system);
    printf("  CPU       %s, %ld logical CPUs\n", model, sysconf(_SC_NPROCESSORS_ONLN));
    print_features(context);
    printf("  mask      GMM_CPU_MASK%s%s", variable ? "=" : " not set", variable ? variable : "");
    printf("%s%s\n", cpu_mask ? "; --cpu-mask " : "", cpu_mask ? cpu_mask : "");
    printf("  threads   %d\n\n", (int)gmm_context_threads(context));
    print_formats();
    printf("\n");
    print_kernels(context);
    printf("\n");
    print_blas();
    print_provider(context);
    free(model);
    free(system);
}

static int run(int argc, char **argv)
{
    gmm_context_options wanted = {.size = sizeof wanted};
    gmm_context *context;
    bool json = false;
    int option;

    while ((option = next_option(&cmd_info, argc, argv, options)) != -1)
        switch (option) {
        case OPTION_JSON:
            json = true;
            break;
        case OPTION_CPU_MASK:
            wanted.cpu_mask = optarg;
            break;
        case OPTION_BLAS:
            wanted.blas = optarg;
            break;
        case 'h':
            print_help(&cmd_info);
            return EXIT_FINE;
        default:
            return EXIT_USAGE;
        }
    if (optind < argc)
        return usage_error(&cmd_info, "no argument is expected after the options, and there is '%s'", argv[optind]);

    /* Without --cpu-mask only the environment can be at fault. */
    gmm_status status = gmm_context_create(&(gmm_context_options){.size = sizeof wanted}, &context);
    if (status)
        return complain_status(status);
    gmm_context_destroy(context);
    status = gmm_context_create(&wanted, &context);
    if (status == GMM_ERR_CPU)
        return usage_error(&cmd_info, "--cpu-mask: %s", gmm_error_detail());
    if (status)
        return complain_status(status);
    if (json)
        print_info_json(context, wanted.cpu_mask);
    else
        print_info(context, wanted.cpu_mask);
    gmm_context_destroy(context);
    return EXIT_FINE;
}

const command cmd_info = {
    .name = "info",
    .arguments = "[--json] [--cpu-mask WORDS] [--blas LIBRARY]",
    .summary = "what this machine offers: the text to paste into a bug report",
    .help = "Show the version and build of the library, the CPU and its features, the mask\n"
            "and threads in force, the weight formats, the kernels (used, usable or not),\n"
            "and the BLAS libraries that the dynamic loader finds.\n\n"
            "options:\n"
            "  --json            print JSON\n"
            "  --cpu-mask WORDS  show what would be in use without these CPU features,\n"
            "                    separated by commas; 'all' leaves portable C\n"
            "  --blas LIBRARY    load this BLAS ('auto': the first that is good), check it as\n"
            "                    products would, and say what was found\n"
            "  -h, --help        show this text\n",
    .run = run,
};
