/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A qube's firewall.xml, version 2, as Qubes keeps it in dom0:
 *
 *	<firewall version="2">
 *	  <rules>
 *	    <rule><properties>
 *	      <property name="action">accept</property>
 *	      <property name="dsthost">192.0.2.0/24</property>
 *	    </properties></rule>
 *	  </rules>
 *	</firewall>
 *
 * It becomes rule texts as the control socket takes them. The policy behind the rules is always
 * drop, as in Qubes 4. The file is hostile: its size, depth and count are bounded, nothing outside
 *of it is read, no entity is replaced, and whatever is not of this format is an error.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct firewall_xml_rule {
	char *text;
	unsigned line; /* of its <rule> */
	bool forward;  /* action=forward */
	bool expired;
};

struct firewall_xml {
	struct firewall_xml_rule *rules; /* in the order they are tried */
	unsigned count;
};

/**
 * Parse the text of a file.
 * @param name what messages call it
 * @param now_s unix time: what ends before is expired, and is not checked any further
 * @param error out, on failure: NAME:LINE: what is wrong, without control characters
 * @return 0 with @p out filled (free with firewall_xml_free), or -EINVAL, or -ENOMEM
 */
int firewall_xml_parse(const char *text, size_t length, const char *name, uint64_t now_s,
	struct firewall_xml *out, char *error, size_t error_size);

void firewall_xml_free(struct firewall_xml *firewall);
