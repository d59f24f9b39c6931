/* machine_text.h - this machine in words, for reports. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_MACHINE_TEXT_H
#define GMM_MACHINE_TEXT_H

/* The CPU's model; "Linux 6.1 x86_64, Debian GNU/Linux 12". Free them. */
char *cpu_model(void);
char *system_text(void);

#endif
