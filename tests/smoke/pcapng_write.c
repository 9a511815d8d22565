/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets of `capture`, one JSON object per line, from stdin to stdout as pcapng. */
#include <stdlib.h>
#include <string.h>

#include "app/pcapng_packet.h"

int
main(void)
{
	struct pcapng *pcapng = NULL;
	char *line = NULL;
	size_t room = 0;
	int status = EXIT_SUCCESS;

	if (pcapng_open(stdout, "pcapng_write", &pcapng) != 0)
		return EXIT_FAILURE;
	while (status == EXIT_SUCCESS && getline(&line, &room, stdin) > 0) {
		json_t *packet = json_loads(line, 0, NULL);

		if (pcapng_write_packet(pcapng, packet) != 0)
			status = EXIT_FAILURE;
		json_decref(packet);
	}
	pcapng_close(pcapng);
	free(line);
	return fflush(stdout) == 0 ? status : EXIT_FAILURE;
}
