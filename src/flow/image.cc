#include "flow/image.h"

#include <png.h>

#include <csetjmp>
#include <cstdio>  // before jpeglib.h, which needs it

#include <jpeglib.h>

#include "base/text.h"

namespace shoal::flow {
namespace {

std::string too_large(int64_t width, int64_t height) {
  return cat("an image of ", width, " x ", height, ", want at most ",
             human_bytes(static_cast<uint64_t>(kMostPixelBytes)), " of pixels");
}

struct Png {
  ~Png() { png_image_free(&image); }
  png_image image = {};
};

std::string decode_png(std::span<const std::byte> bytes, Image& out) {
  Png png;
  png.image.version = PNG_IMAGE_VERSION;
  const auto failed = [&] { return cat("damaged PNG: ", png.image.message); };
  if (!png_image_begin_read_from_memory(&png.image, bytes.data(), bytes.size())) return failed();
  png.image.format &= PNG_FORMAT_FLAG_COLOR | PNG_FORMAT_FLAG_ALPHA;  // palettes and 16 bits become 8 bits
  out.width = png.image.width;
  out.height = png.image.height;
  out.channels = PNG_IMAGE_SAMPLE_CHANNELS(png.image.format);
  if (out.width > kMostPixelBytes / out.channels / out.height) return too_large(out.width, out.height);
  out.pixels.resize(PNG_IMAGE_SIZE(png.image));
  if (!png_image_finish_read(&png.image, nullptr, out.pixels.data(), 0, nullptr)) return failed();
  return "";
}

/// libjpeg calls error_exit() and expects it not to return.
struct JpegErrors {
  jpeg_error_mgr base;
  std::jmp_buf back;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void leave(j_common_ptr info) {
  auto* const errors = reinterpret_cast<JpegErrors*>(info->err);
  info->err->format_message(info, errors->message);
  std::longjmp(errors->back, 1);
}

/// A warning is damage too: libjpeg would make up what is missing.
void note(j_common_ptr info, int level) {
  if (level < 0) leave(info);
}

/// Nothing here needs a destructor: leave() jumps out of it.
bool read_jpeg(std::span<const std::byte> bytes, Image& out, jpeg_decompress_struct& info,
               JpegErrors& errors) {
  if (setjmp(errors.back) != 0) return false;
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&info, TRUE);
  out.channels = info.num_components;
  if (info.num_components != 1) info.out_color_space = JCS_RGB;
  jpeg_calc_output_dimensions(&info);
  out.width = info.output_width;
  out.height = info.output_height;
  if (out.width * out.height * out.channels > kMostPixelBytes) return true;  // the caller looks
  jpeg_start_decompress(&info);
  const size_t stride = static_cast<size_t>(out.width * out.channels);
  out.pixels.resize(stride * static_cast<size_t>(out.height));
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = reinterpret_cast<JSAMPROW>(out.pixels.data() + stride * info.output_scanline);
    jpeg_read_scanlines(&info, &row, 1);
  }
  jpeg_finish_decompress(&info);
  return true;
}

std::string decode_jpeg(std::span<const std::byte> bytes, Image& out) {
  jpeg_decompress_struct info = {};
  JpegErrors errors = {};
  info.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = leave;
  errors.base.emit_message = note;
  const bool good = read_jpeg(bytes, out, info, errors);
  jpeg_destroy_decompress(&info);
  if (!good) return cat("damaged JPEG: ", errors.message);
  return out.pixels.empty() ? too_large(out.width, out.height) : "";
}

}  // namespace

std::string decode_image(std::span<const std::byte> bytes, Image& out) {
  out = {};
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.starts_with("\x89PNG")) return decode_png(bytes, out);
  if (text.starts_with("\xff\xd8\xff")) return decode_jpeg(bytes, out);
  return "neither PNG nor JPEG";
}

}  // namespace shoal::flow
