/* machine_text.c - see machine_text.h. */
/* SPDX-License-Identifier: MIT */
#include "machine_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "output.h"

/* The value of the first line of a file that starts with key, without separators and quotes; "" if there is none. */
static char *value_in_file(const char *path, const char *key, const char *separators)
{
    char line[512];
    FILE *file = fopen(path, "r");

    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, key, strlen(key)))
            continue;
        char *value = line + strlen(key);
        value += strspn(value, separators);
        value[strcspn(value, "\"\n")] = '\0';
        fclose(file);
        return must_format("%s", value);
    }
    if (file)
        fclose(file);
    return must_format("%s", "");
}

/* x86 kernels name the model; Arm ones only give its part number. */
char *cpu_model(void)
{
    char *model = value_in_file("/proc/cpuinfo", "model name", "\t :");

    if (*model)
        return model;
    free(model);
    char *implementer = value_in_file("/proc/cpuinfo", "CPU implementer", "\t :");
    char *part = value_in_file("/proc/cpuinfo", "CPU part", "\t :");
    model = *implementer ? must_format("implementer %s part %s", implementer, part) : must_format("unknown");
    free(implementer);
    free(part);
    return model;
}

char *system_text(void)
{
    struct utsname name;
    char *distribution = value_in_file("/etc/os-release", "PRETTY_NAME", "=\"");

    if (uname(&name))
        return distribution;
    char *text =
        must_format("%s %s %s%s%s", name.sysname, name.release, name.machine, *distribution ? ", " : "", distribution);
    free(distribution);
    return text;
}
