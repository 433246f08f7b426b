// Python's view of the parts of a selection by several processes: addresses, sizes and a thread count, nothing of torch.
#include <pybind11/functional.h>
#include <pybind11/pybind11.h>

#include <numeric>
#include <string>
#include <tuple>

#include "column_block.h"
#include "matching_part.h"
#include "replay.h"

namespace acs_fast {
namespace {

namespace py = pybind11;
using Address = uintptr_t;

template <class T>
const T* at(Address address) {
  return reinterpret_cast<const T*>(address);
}

// Samples of which all are meant, in their order; keeps what `Factors` points to and torch does not hold.
template <class T>
struct Samples {
  Samples(Address residuals, Address features, Address numbers, int64_t n, int64_t R, int64_t C, int64_t D, bool bias)
      : members(n), factors{at<T>(residuals), at<T>(features), members.data(), n, R, C, D, bias, at<int64_t>(numbers)} {
    std::iota(members.begin(), members.end(), 0);
  }
  std::vector<int64_t> members;
  Factors<T> factors;
};

template <class T>
class BoundBlock {
 public:
  BoundBlock(Address residuals, Address features, Address numbers, int64_t n, int64_t R, int64_t C, int64_t D, bool bias,
             Address means, bool squared, int threads)
      : columns_(residuals, features, numbers, n, R, C, D, bias),
        block_(columns_.factors, at<double>(means), squared, threads) {}

  int64_t tile_size() const { return block_.tile_size(); }

  T pairs(Address out, int64_t stride, int64_t block, int64_t rank, int64_t ranks, int threads) const {
    return block_.pairs(reinterpret_cast<T*>(out), stride, block, rank, ranks, threads);
  }

  void rows(Address residuals, Address features, Address numbers, int64_t n, Address out, int threads) const {
    const Factors<T>& f = columns_.factors;
    const Samples<T> rows(residuals, features, numbers, n, f.R, f.C, f.D, f.bias);
    block_.rows(rows.factors, reinterpret_cast<T*>(out), threads);
  }

 private:
  const Samples<T> columns_;
  const ColumnBlock<T> block_;
};

template <class T>
void add(Address residuals, Address features, int64_t n, int64_t R, int64_t C, int64_t D, Address sums) {
  const Samples<T> samples(residuals, features, 0, n, R, C, D, false);
  add_factors(samples.factors, reinterpret_cast<double*>(sums));
}

template <class T>
void lower(Address gains, int64_t width, Address distances, int64_t stride, Address index, int64_t count, Address low,
           Address high, double scale, int threads) {
  lower_gains(reinterpret_cast<int64_t*>(gains), width, at<T>(distances), stride, at<int64_t>(index), count, at<T>(low),
              at<T>(high), scale, threads);
}

template <class T>
int64_t find_lower(Address distances, int64_t stride, Address index, int64_t count, Address level, int64_t width, double scale,
              Address row, Address column, Address entry) {
  return lower_entries(at<T>(distances), stride, at<int64_t>(index), count, at<T>(level), width, scale,
                       reinterpret_cast<int64_t*>(row), reinterpret_cast<int64_t*>(column), reinterpret_cast<T*>(entry));
}

template <class T>
int64_t replayed(Address numbers, Address gains, int64_t candidates, int64_t bound_gain, int64_t bound_number,
                 Address candidate, Address sample, Address price, int64_t offers, Address level, Address server,
                 int64_t payers, double scale, Address picks, Address values) {
  const auto integers = [](Address address) { return reinterpret_cast<int64_t*>(address); };
  return replay(Candidates{integers(numbers), integers(gains), candidates, bound_gain, bound_number},
                Offers<T>{integers(candidate), integers(sample), at<T>(price), offers},
                Payers<T>{reinterpret_cast<T*>(level), integers(server), payers}, scale, integers(picks),
                integers(values));
}

using Leaders = std::function<std::tuple<int64_t, double, double>(int64_t, double, double)>;

template <class T>
int64_t match(Address residuals, Address features, int64_t n, int64_t R, int64_t C, int64_t D, bool bias, Address target,
              int64_t budget, double ridge, int64_t begin, int64_t end, const std::function<double(double)>& largest,
              const Leaders& best, Address indices, Address weights, Address gains, int threads) {
  const Samples<T> samples(residuals, features, 0, n, R, C, D, bias);
  const Meeting meeting{largest, [&](Leader own) {
                          const auto [sample, correlation, to_target] =
                              best(own.sample, own.correlation, own.to_target);
                          return Leader{sample, correlation, to_target};
                        }};
  return match_part(samples.factors, at<double>(target), budget, ridge, Span{begin, end}, meeting, threads,
                    reinterpret_cast<int64_t*>(indices), reinterpret_cast<double*>(weights),
                    reinterpret_cast<double*>(gains));
}

template <class T>
void bind(py::module_& m, const std::string& dtype) {
  const auto nogil = py::call_guard<py::gil_scoped_release>();
  const auto name = [&](const char* function) { return std::string(function) + "_" + dtype; };
  py::class_<BoundBlock<T>>(m, name("ColumnBlock").c_str())
      .def(py::init<Address, Address, Address, int64_t, int64_t, int64_t, int64_t, bool, Address, bool, int>(), nogil)
      .def("tile_size", &BoundBlock<T>::tile_size)
      .def("pairs", &BoundBlock<T>::pairs, nogil)
      .def("rows", &BoundBlock<T>::rows, nogil);
  m.def(name("add_factors").c_str(), &add<T>, nogil);
  m.def(name("lower_gains").c_str(), &lower<T>, nogil);
  m.def(name("lower_entries").c_str(), &find_lower<T>, nogil);
  m.def(name("replay").c_str(), &replayed<T>, nogil);
  m.def(name("match_part").c_str(), &match<T>, nogil);  // what it calls takes the lock of the interpreter itself
}

}  // namespace

void bind_parts(py::module_& m) {
  bind<float>(m, "float32");
  bind<double>(m, "float64");
  m.def("prefer_huge_pages", [](Address data, size_t bytes) { prefer_huge_pages(reinterpret_cast<void*>(data), bytes); });
}

}  // namespace acs_fast
