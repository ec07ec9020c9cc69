// Writes the sample run's report.html to the path given, and prints its summary: to look at both.
#include <fstream>
#include <iostream>

#include "cli/report/report.h"
#include "cli/report/summary.h"
#include "tests/cli/report/sample.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: render_sample REPORT.html\n";
    return 2;
  }
  const leeway::v1::GetStatusReply status = leeway::SampleStatus();
  std::ofstream file(argv[1]);
  file << leeway::RenderReportHtml(status, leeway::SampleFacts());
  file.close();
  std::cout << leeway::RenderSummaryTable(status);
  return file.good() ? 0 : 1;
}
