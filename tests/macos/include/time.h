/* time.h - what is needed of macOS's header of this name, to compile for it where it is not. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_TIME_H
#define GMM_TIME_H

#include <stddef.h>
#include <sys/types.h>
struct tm {
    int tm_sec, tm_min, tm_hour, tm_mday, tm_mon, tm_year, tm_wday, tm_yday, tm_isdst;
    long tm_gmtoff;
    char *tm_zone;
};
time_t time(time_t *now);
struct tm *gmtime_r(const time_t *time, struct tm *parts);
size_t strftime(char *to, size_t size, const char *format, const struct tm *parts);

#endif
