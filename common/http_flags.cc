#include "common/http_flags.h"

#include "absl/flags/flag.h"

ABSL_FLAG(std::int32_t, http_port, -1,
          "port of /healthz, /readyz, /statusz, and of the status page on shard 0; 0: a free one; -1: none");
ABSL_FLAG(std::string, http_address, "127.0.0.1",
          "IP address for --http_port; 0.0.0.0 and :: are all addresses, of IPv4 and IPv6; one that other machines "
          "reach needs TLS or --insecure");
ABSL_FLAG(std::string, http_port_file, "", "write host:port of the HTTP server to this file once it answers");
