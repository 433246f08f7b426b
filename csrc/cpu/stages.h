// Seconds by stage, the report of every operator.
#pragma once

#include <chrono>
#include <map>
#include <string>

namespace acs_fast {

using StageSeconds = std::map<std::string, double>;

class Stopwatch {
 public:
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - start_).count();
    start_ = now;
    return seconds;
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace acs_fast
