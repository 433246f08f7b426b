// Seconds by stage of the operators that this thread has run, until Python takes them.
#pragma once

#include <chrono>
#include <map>
#include <string>

namespace acs_fast {

inline std::map<std::string, double>& stage_seconds() {
  static thread_local std::map<std::string, double> seconds;
  return seconds;
}

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
