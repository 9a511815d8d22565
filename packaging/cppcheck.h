/* SPDX-License-Identifier: BSD-3-Clause */
/* What cppcheck must know of other people's macros; nobody else includes this. */
#pragma once

#define SLUICE_VERSION ""
#define json_array_foreach(array, i, value) \
	for (i = 0; (value = json_array_get(array, i)) != 0; i++)
#define json_object_foreach(object, key, value) \
	for (key = ""; (value = json_object_get(object, key)) != 0;)
