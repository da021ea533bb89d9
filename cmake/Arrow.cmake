# Shoal::arrow: Arrow C++, as the Python package pyarrow brings it: headers, and libraries whose names end in the version
# (docs/decisions/0021-arrow-comes-in-a-wheel.md says why). Installed beside ShoalConfig.cmake, for programs.
#   in:   SHOAL_ARROW_DIR (cached; may be given: the folder of pyarrow), else SHOAL_ARROW_HINT
#   out:  the target, SHOAL_ARROW_PROBLEM (a sentence, or empty)
set(SHOAL_ARROW_WANTED 26)
set(SHOAL_ARROW_PROBLEM "")

find_path(SHOAL_ARROW_DIR include/arrow/api.h HINTS ${SHOAL_ARROW_HINT} NO_DEFAULT_PATH DOC "The folder of pyarrow: include/ and libarrow.so.* are in it")
set(shoal_arrow_config ${SHOAL_ARROW_DIR}/include/arrow/util/config.h)
if(NOT EXISTS ${shoal_arrow_config})
  set(SHOAL_ARROW_PROBLEM
    "Arrow - not found; name the folder of the Python package pyarrow ${SHOAL_ARROW_WANTED} in SHOAL_ARROW_DIR, or run tools/setup")
  return()
endif()

file(STRINGS ${shoal_arrow_config} shoal_arrow_version REGEX "define ARROW_(VERSION_MAJOR|SO_VERSION) ")
string(REGEX REPLACE "[^0-9;]" "" shoal_arrow_version "${shoal_arrow_version}")
list(GET shoal_arrow_version 0 shoal_arrow_major)
list(GET shoal_arrow_version 1 shoal_arrow_so)
if(NOT shoal_arrow_major EQUAL SHOAL_ARROW_WANTED)
  set(SHOAL_ARROW_PROBLEM
    "Arrow - version: got ${shoal_arrow_major} in ${SHOAL_ARROW_DIR}, want ${SHOAL_ARROW_WANTED}; name another folder in SHOAL_ARROW_DIR")
  return()
endif()

if(NOT TARGET Shoal::arrow)
  add_library(Shoal::arrow INTERFACE IMPORTED)
  target_include_directories(Shoal::arrow SYSTEM INTERFACE ${SHOAL_ARROW_DIR}/include)
  foreach(name arrow arrow_compute parquet)
    target_link_libraries(Shoal::arrow INTERFACE ${SHOAL_ARROW_DIR}/lib${name}.so.${shoal_arrow_so})
  endforeach()
endif()
