/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The settings of an interface under /proc/sys/net that keep the kernel from using it, and what
 * they were before. Control thread only.
 */
#pragma once

#include <stddef.h>

/** Where to note what settings were before; without it nothing is noted. */
void settings_keep_in(const char *directory);

/**
 * Note what the settings of an interface are, unless that was noted before. That it cannot be is
 * no error: then the kernel's defaults are what it gets back.
 */
void settings_note(const char *ifname);

/**
 * What has to be told of a setting that was different.
 * @param was what it said
 * @param error NULL when it is right again
 */
typedef void (*settings_fn)(void *context, const char *setting, const char *was, const char *error);

/**
 * Set those settings that say something else. What this kernel does not have needs no silencing.
 * @param told may be NULL; called for each that was different
 * @param error out, on failure: the last thing that could not be done
 * @return 0 or -errno
 */
int settings_quiet(
	const char *ifname, settings_fn told, void *context, char *error, size_t error_size);

/**
 * Make the settings of an interface what they were, or the kernel's defaults where that is not
 * known, and forget what was noted. An interface that is gone has none.
 * @return 0 or -errno with @p error filled
 */
int settings_restore(const char *ifname, char *error, size_t error_size);

/** Forget what was noted of an interface that is gone. */
void settings_forget(const char *ifname);

/** Call @p found for each interface of which something is noted. */
void settings_each(void (*found)(void *context, const char *ifname), void *context);
