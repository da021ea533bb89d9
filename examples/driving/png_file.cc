#include "png_file.h"

#include <png.h>

#include <shoal/error.h>

namespace {
/// libpng's simplified interface: one struct, freed on every way out.
struct Image {
  Image() { png.version = PNG_IMAGE_VERSION; }
  ~Image() { png_image_free(&png); }
  png_image png = {};
};
}  // namespace

torch::Tensor read_png(const std::filesystem::path& path, int64_t channels) {
  Image image;
  const auto fail = [&] {
    throw shoal::InputError(path.string() + " - cannot be read as PNG: " + image.png.message);
  };
  if (!png_image_begin_read_from_file(&image.png, path.c_str())) fail();
  if (image.png.width > 4096 || image.png.height > 4096)
    throw shoal::InputError(path.string() + " - size: got more than 4096 pixels along a side, want a frame");
  image.png.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  const auto pixels = torch::empty({image.png.height, image.png.width, channels}, torch::kByte);
  if (!png_image_finish_read(&image.png, nullptr, pixels.mutable_data_ptr(), 0, nullptr)) fail();
  return pixels.permute({2, 0, 1}).contiguous();
}

void write_png(const std::filesystem::path& path, const torch::Tensor& picture) {
  const torch::Tensor pixels = picture.permute({1, 2, 0}).contiguous();
  Image image;
  image.png.format = PNG_FORMAT_RGB;
  image.png.height = static_cast<png_uint_32>(pixels.size(0));
  image.png.width = static_cast<png_uint_32>(pixels.size(1));
  if (!png_image_write_to_file(&image.png, path.c_str(), 0, pixels.const_data_ptr(), 0, nullptr))
    throw shoal::JobError(path.string() + " - cannot be written: " + image.png.message);
}
