// nvcc's host overloads of min and max: found, of the right type, of the right value.
#include <type_traits>

template <typename R, typename A, typename B>
bool check(A a, B b, R least, R most) {
  static_assert(std::is_same<decltype(min(a, b)), R>::value, "min");
  static_assert(std::is_same<decltype(max(a, b)), R>::value, "max");
  return min(a, b) == least && max(a, b) == most;
}

__global__ void device(int* out, int n, unsigned m) { out[0] = max(n, 32) + min(m, 7u) + max(n, m); }

int main() {
  const bool good = check<int>(-3, 32, -3, 32) && check<unsigned>(-1, 2u, 2u, 4294967295u) &&
                    check<unsigned>(7u, 2, 2u, 7u) && check<long>(-3L, 4L, -3L, 4L) &&
                    check<unsigned long>(-1L, 4UL, 4UL, ~0UL) && check<long long>(-3LL, 4LL, -3LL, 4LL) &&
                    check<unsigned long long>(3ULL, -1LL, 3ULL, ~0ULL) && check<float>(1.5f, -2.f, -2.f, 1.5f) &&
                    check<double>(1.5, -2.0, -2.0, 1.5) && check<double>(1.5f, -2.0, -2.0, 1.5) &&
                    check<double>(1.5, -2.f, -2.0, 1.5);
  return good ? 0 : 1;
}
